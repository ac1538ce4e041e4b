"""Echo with a handler's method: the server sends each message back to its client.

Run:   .venv/bin/python examples/echo_callback.py [URL...]      (default ws://127.0.0.1:9001)
Talk:  .venv/bin/python -m websockets ws://127.0.0.1:9001
       .venv/bin/vespiary load ws://127.0.0.1:9001 --connections 100 --duration 3
"""

import sys

import vespiary


class Echo(vespiary.Handler):
    """Sends every message back, text as text and bytes as bytes."""

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        """Queue the message. Messages of one batch are sent together."""
        connection.send(message)


if __name__ == "__main__":
    vespiary.serve(Echo(), *(sys.argv[1:] or ["ws://127.0.0.1:9001"]))
