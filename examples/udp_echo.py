"""UDP echo: the server sends each datagram back to its sender.

A sender can forge its address. So an answer should not be longer than the request. Otherwise an
attacker can use the server to flood a victim.

Run:   .venv/bin/python examples/udp_echo.py [URL...]          (default udp://127.0.0.1:9000)
Talk:  nc -u 127.0.0.1 9000        (each line is a datagram)
"""

import sys

import vespiary


class UDPEcho(vespiary.Handler):
    """Sends datagrams back."""

    def on_datagram(self, datagram: vespiary.Datagram) -> None:
        """Send the datagram back."""
        datagram.reply(datagram.data)


if __name__ == "__main__":
    vespiary.serve(UDPEcho(), *(sys.argv[1:] or ["udp://127.0.0.1:9000"]))
