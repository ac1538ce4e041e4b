"""Echo with deadlines: clients that are silent or slow for too long are disconnected.

`message_seconds` begins with the first byte of a line, so a client cannot extend it by sending a
byte now and then. `idle_seconds` limits silence. Each deadline that is reached is counted in the
statistics, and `on_limit` is called.

Run:   .venv/bin/python examples/read_timeout_echo.py [URL...]  (default tcp://127.0.0.1:5050)
       IDLE_SECONDS=2 and LINE_SECONDS=1 in the environment make it less patient
Talk:  nc 127.0.0.1 5050           and wait
"""

import logging
import os
import sys

import vespiary

DEADLINES = vespiary.Deadlines(
    idle_seconds=float(os.environ.get("IDLE_SECONDS", "10")),
    message_seconds=float(os.environ.get("LINE_SECONDS", "5")),
)


class PatientEcho(vespiary.Handler):
    """Sends lines back, and logs who was too slow."""

    def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
        """Send the line back."""
        connection.send(message)

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        """Log the reason, which names the deadline."""
        if reason.kind == "broken":
            seconds = connection.statistics().open_seconds
            logging.getLogger("echo").info("after %.1f seconds: %s", seconds, reason)

    def on_limit(self, name: str, value: float) -> None:
        """Do nothing. Without this method, Vespiary logs a warning."""


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    urls = sys.argv[1:] or ["tcp://127.0.0.1:5050"]
    vespiary.serve(PatientEcho(), *urls, framing="line", deadlines=DEADLINES)
