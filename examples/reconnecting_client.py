"""A client that prints the server's messages, and reconnects when the connection ends.

Run:   .venv/bin/python examples/reconnecting_client.py [URL]     (default ws://127.0.0.1:9001)
Talk:  start examples/echo_async.py, stop it, and start it again
"""

import asyncio
import contextlib
import signal
import sys

import vespiary

BACKOFF = vespiary.Backoff(first_seconds=0.5, seconds_max=10.0)


class Feed(vespiary.Handler):
    """Prints messages. `current` is the open connection."""

    def __init__(self) -> None:
        self.current: vespiary.Connection | None = None

    def on_open(self, connection: vespiary.Connection) -> None:
        """Say hello each time."""
        self.current = connection
        print("connected", flush=True)
        connection.send("hello")

    def on_message(self, connection: vespiary.Connection, message: str) -> None:
        """Print a message."""
        print(f"heard {message!r}", flush=True)

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        """Print the reason. The client reconnects automatically."""
        self.current = None
        print(f"lost: {reason}", flush=True)


async def main(url: str) -> None:
    """Stay connected until SIGTERM or Ctrl-C."""
    connecting = vespiary.connect(url, Feed(), redirects_max=3, reconnect=BACKOFF)
    staying = asyncio.ensure_future(connecting.stay())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, staying.cancel)
    # A cancel closes the connection cleanly.
    with contextlib.suppress(asyncio.CancelledError):
        await staying


if __name__ == "__main__":
    try:
        vespiary.run(main(sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:9001"))
    except (OSError, vespiary.VespiaryError) as error:
        sys.exit(f"cannot reconnect: {error}")
