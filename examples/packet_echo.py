r"""Packet echo: a byte stream cut into messages by a length of four bytes before each of them.

The engine puts packets together, however the network cut them, and refuses one that is longer than
`message_bytes_max` by its prefix alone, before a byte of it is stored. Protocols that count
otherwise are `vespiary.LengthPrefix(width=2, byteorder="little", includes_itself=True)`.

Run:   .venv/bin/python examples/packet_echo.py [URL...]        (default tcp://127.0.0.1:5050)
Talk:  printf '\0\0\0\5hello' | nc -q1 127.0.0.1 5050 | xxd
       .venv/bin/vespiary load tcp://127.0.0.1:5050 --framing length --fragment --messages 1000
"""

import sys

import vespiary

LIMITS = vespiary.Limits(message_bytes_max=64 << 10)


class PacketEcho(vespiary.Handler):
    """Sends every packet back, with a prefix of its own."""

    def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
        """A packet is whole here, and without its prefix."""
        connection.send(message)


if __name__ == "__main__":
    urls = sys.argv[1:] or ["tcp://127.0.0.1:5050"]
    vespiary.serve(PacketEcho(), *urls, framing="length", limits=LIMITS)
