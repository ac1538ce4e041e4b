"""UDP echo: each datagram goes back to its sender.

A sender of UDP can claim any address, so a server should answer with no more than it was sent:
otherwise it multiplies somebody's attack on that address.

Run:   .venv/bin/python examples/udp_echo.py [URL...]          (default udp://127.0.0.1:9000)
Talk:  nc -u 127.0.0.1 9000        (each line is a datagram)
"""

import sys

import vespiary


class UDPEcho(vespiary.Handler):
    """Sends datagrams back."""

    def on_datagram(self, datagram: vespiary.Datagram) -> None:
        """Datagrams keep their boundaries: one came, and one leaves."""
        datagram.reply(datagram.data)


if __name__ == "__main__":
    vespiary.serve(UDPEcho(), *(sys.argv[1:] or ["udp://127.0.0.1:9000"]))
