"""Echo with limits for connections: in total, per address, and per second.

When a limit is reached, new clients are refused at once with a reset, which leaves no socket in
TIME_WAIT. The server counts them under the name of the limit. They can connect again when another
client has left.

Run:   .venv/bin/python examples/limited_echo.py [URL...]       (default tcp://127.0.0.1:5050)
       CONNECTIONS_MAX=3 in the environment sets the bound
Talk:  for i in 1 2 3 4; do (sleep 5 | nc 127.0.0.1 5050) & done; wait
"""

import logging
import os
import sys

import vespiary

LIMITS = vespiary.Limits(
    connections_max=int(os.environ.get("CONNECTIONS_MAX", "3")),
    connections_per_address_max=int(os.environ.get("CONNECTIONS_MAX", "3")),
    accepts_per_second_max=100,
)


class LimitedEcho(vespiary.Handler):
    """Sends bytes back as they come, and tells each client how many there are."""

    def __init__(self) -> None:
        self.count = 0

    def on_open(self, connection: vespiary.Connection) -> None:
        """Count the client. Each `on_open` is followed by an `on_close`."""
        self.count += 1
        connection.send(f"You are one of {self.count}.\n")

    def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
        """Send the bytes back. Without a framing, a message is a piece of the stream."""
        connection.send(message)

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        """Subtract the client from the count."""
        self.count -= 1

    def on_limit(self, name: str, value: float) -> None:
        """Log that a limit was reached."""
        logging.getLogger("echo").warning("refused a connection: %s is %g", name, value)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    vespiary.serve(LimitedEcho(), *(sys.argv[1:] or ["tcp://127.0.0.1:5050"]), limits=LIMITS)
