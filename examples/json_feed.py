"""A feed of quotes in JSON, compressed once for many subscribers.

Each tick is a message of some kilobytes that is similar to the previous one. Clients with
permessage-deflate (all browsers have it) receive about a fifth of the bytes. The server does not
use context takeover. So it compresses each tick only once for all subscribers, and needs no
compressor per connection. Send "statistics" to see how many bytes this saves.

Run:   .venv/bin/python examples/json_feed.py [URL...]       (default ws://127.0.0.1:9001)
       TICK_SECONDS=0.2 in the environment sets the pace
Talk:  .venv/bin/python -m websockets ws://127.0.0.1:9001
"""

import json
import logging
import os
import random
import sys

import vespiary

SYMBOLS = [f"{letter}{number}" for letter in "ABCDE" for number in range(10)]
WEBSOCKET = vespiary.WebSocket(compression=vespiary.Compression(server_context_takeover=False))


class Feed(vespiary.Handler):
    """Sends all quotes to every subscriber at each tick."""

    def __init__(self, tick_seconds: float) -> None:
        self.tick_seconds = tick_seconds
        self.number = 0
        self.prices = dict.fromkeys(SYMBOLS, 100.0)

    def on_start(self, server: vespiary.Server) -> None:
        """Set a timer for the first tick. Each tick sets the next one."""
        self.server = server
        server.set_timer(self.tick_seconds, self.tick)

    def on_open(self, connection: vespiary.Connection) -> None:
        """Subscribe every connection."""
        connection.subscribe("quotes")

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        """Report how much compression saved. This short answer is not compressed."""
        if message == "statistics":
            told = self.server.statistics().total.compression
            answer = {
                "compressed": told.compressed_bytes_sent,
                "original": told.original_bytes_sent,
                "ratio": round(told.ratio_sent, 1),
                "memory": told.memory_bytes,
            }
            connection.send(json.dumps(answer), compress=False)

    def tick(self) -> None:
        """Change the prices, and publish all of them."""
        self.number += 1
        for symbol in SYMBOLS:
            self.prices[symbol] *= random.uniform(0.99, 1.01)
        quotes = [
            {"symbol": symbol, "price": round(price, 2), "volume": random.randrange(10_000)}
            for symbol, price in self.prices.items()
        ]
        self.server.publish("quotes", json.dumps({"tick": self.number, "quotes": quotes}))
        self.server.set_timer(self.tick_seconds, self.tick)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    vespiary.serve(
        Feed(float(os.environ.get("TICK_SECONDS", "1"))),
        *(sys.argv[1:] or ["ws://127.0.0.1:9001"]),
        websocket=WEBSOCKET,
    )
