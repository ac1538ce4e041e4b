"""Line echo: text lines over TCP, with a greeting and a way out.

`framing="crlf"` ends what is sent with CR LF, as telnet and most text protocols want it; lines that
come may end with CR LF or LF alone. A line longer than `message_bytes_max` ends the connection.

Run:   .venv/bin/python examples/line_echo.py [URL...]          (default tcp://127.0.0.1:5050)
Talk:  nc -C 127.0.0.1 5050        (or telnet); "quit" ends it
"""

import sys

import vespiary

LIMITS = vespiary.Limits(message_bytes_max=1000)


class LineEcho(vespiary.Handler):
    """Numbers the lines of each client, and sends them back."""

    def on_open(self, connection: vespiary.Connection) -> None:
        """Greet; what belongs to one connection is kept in its `data`."""
        connection.data = 0
        connection.send("Type a line; quit ends.")

    def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
        """A line is whole here, and without its ending."""
        if message.strip().lower() == b"quit":
            connection.send("Goodbye.")
            connection.close()
            return
        connection.data += 1
        connection.send(b"%d %b" % (connection.data, message))


if __name__ == "__main__":
    vespiary.serve(
        LineEcho(), *(sys.argv[1:] or ["tcp://127.0.0.1:5050"]), framing="crlf", limits=LIMITS
    )
