"""Echo with deadlines: who is silent too long, or takes too long over one line, is disconnected.

Deadlines are absolute. `message_seconds` counts from a line's first byte, so that a client which
trickles a byte now and then gains nothing by it; `idle_seconds` counts silence. Each that is
reached is counted in the statistics, and told to `on_limit`.

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
        """The reason says which deadline it was."""
        if reason.kind == "broken":
            seconds = connection.statistics().open_seconds
            logging.getLogger("echo").info("after %.1f seconds: %s", seconds, reason)

    def on_limit(self, name: str, value: float) -> None:
        """Without this method the library logs it."""


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    urls = sys.argv[1:] or ["tcp://127.0.0.1:5050"]
    vespiary.serve(PatientEcho(), *urls, framing="line", deadlines=DEADLINES)
