"""Echo with a bound on connections: in all, from one address, and in a second.

Who comes when the limit is reached is refused at once (a reset, so that it costs neither end a
TIME_WAIT), is counted under the limit's name, and can come again when somebody has left.

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
        """Every `on_open` has its `on_close`, so a count is this simple."""
        self.count += 1
        connection.send(f"You are one of {self.count}.\n")

    def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
        """Without a framing, a message is whatever the network delivered at once."""
        connection.send(message)

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        """There is room for one more."""
        self.count -= 1

    def on_limit(self, name: str, value: float) -> None:
        """Called each time that somebody is refused."""
        logging.getLogger("echo").warning("refused a connection: %s is %g", name, value)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    vespiary.serve(LimitedEcho(), *(sys.argv[1:] or ["tcp://127.0.0.1:5050"]), limits=LIMITS)
