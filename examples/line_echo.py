"""Line echo: text lines over TCP, with a greeting and a command to quit.

With `framing="crlf"`, each sent message ends with CR LF, as in telnet and most text protocols.
Received lines may end with CR LF or LF. A line longer than `message_bytes_max` ends the connection.

Run:   .venv/bin/python examples/line_echo.py [URL...]          (default tcp://127.0.0.1:5050)
Talk:  nc -C 127.0.0.1 5050        (or telnet); "quit" ends it
"""

import sys

import vespiary

LIMITS = vespiary.Limits(message_bytes_max=1000)


class LineEcho(vespiary.Handler):
    """Numbers the lines of each client, and sends them back."""

    def on_open(self, connection: vespiary.Connection) -> None:
        """Greet the client. `data` counts its lines."""
        connection.data = 0
        connection.send("Type a line; quit ends.")

    def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
        """Send a line back. It is complete, and has no line ending."""
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
