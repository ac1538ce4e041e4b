"""Ticks for thousands of subscribers, including slow ones.

Each tick is encoded once and published to all subscribers. A subscriber that reads too slowly loses
its oldest ticks (`slow_consumer="drop-oldest"`), and does not delay other subscribers. So it always
gets recent ticks. A gap in the numbers shows how many ticks it has missed.

Run:   .venv/bin/python examples/ticks.py [URL...]       (default ws://127.0.0.1:9001)
       TICKS_PER_SECOND=10 in the environment sets the pace
Talk:  .venv/bin/python -m websockets ws://127.0.0.1:9001
"""

import itertools
import json
import os
import sys
import time

import vespiary

PAYLOAD = "x" * 16_000  # What a real tick would have: prices, volumes.


class Ticks(vespiary.Handler[str]):
    """Publishes ticks at a steady pace."""

    def __init__(self, ticks_per_second: float) -> None:
        self.seconds = 1 / ticks_per_second
        self.numbers = itertools.count()

    def on_start(self, server: vespiary.Server) -> None:
        """Set a timer for the first tick. Each tick sets the next one."""
        self.server = server
        self.tick()

    def on_open(self, connection: vespiary.Connection[str]) -> None:
        """Subscribe every connection."""
        connection.subscribe("ticks")

    def on_message(self, connection: vespiary.Connection[str], message: str) -> None:
        """Say how many subscribers there are, and how many messages slow ones have missed."""
        total = self.server.statistics().total
        told = {"subscribers": self.server.subscribers("ticks"), "dropped": total.messages_dropped}
        connection.send(json.dumps(told))

    def tick(self) -> None:
        """Publish one tick."""
        tick = {"tick": next(self.numbers), "time": time.time(), "payload": PAYLOAD}
        self.server.publish("ticks", json.dumps(tick))
        self.server.set_timer(self.seconds, self.tick)


if __name__ == "__main__":
    ticks = Ticks(float(os.environ.get("TICKS_PER_SECOND", "10")))
    # A slow subscriber holds at most 64 KiB of the server's memory.
    limits = vespiary.Limits(
        write_low_bytes=16 << 10, write_high_bytes=32 << 10, write_bytes_max=64 << 10
    )
    urls = sys.argv[1:] or ["ws://127.0.0.1:9001"]
    vespiary.serve(ticks, *urls, slow_consumer="drop-oldest", limits=limits)
