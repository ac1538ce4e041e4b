r"""Packet echo: a byte stream with a length of four bytes before each message.

Vespiary assembles the messages from the received bytes. If the length is larger than
`message_bytes_max`, it refuses the message before it stores any of its bytes. For other formats of
the length, use for example `vespiary.LengthPrefix(width=2, byteorder="little",
includes_itself=True)`.

Run:   .venv/bin/python examples/packet_echo.py [URL...]        (default tcp://127.0.0.1:5050)
Talk:  printf '\0\0\0\5hello' | nc -q1 127.0.0.1 5050 | xxd
       .venv/bin/vespiary load tcp://127.0.0.1:5050 --framing length --fragment --messages 1000
"""

import sys

import vespiary

LIMITS = vespiary.Limits(message_bytes_max=64 << 10)


class PacketEcho(vespiary.Handler):
    """Sends every packet back, after its length."""

    def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
        """Send a packet back. It is complete, and has no prefix."""
        connection.send(message)


if __name__ == "__main__":
    urls = sys.argv[1:] or ["tcp://127.0.0.1:5050"]
    vespiary.serve(PacketEcho(), *urls, framing="length", limits=LIMITS)
