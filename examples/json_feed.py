"""A feed of quotes in JSON, compressed: many subscribers, one message for all of them.

Every tick is a message of some kilobytes that looks like the one before. Who speaks
permessage-deflate (all browsers do) gets about a fifth of the bytes. The server does not take its
context over from message to message, so that a tick is compressed once, however many subscribe, and
a subscriber costs no compressor. The request "statistics" is answered with what that saved.

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
    """Sends every subscriber all quotes, tick after tick."""

    def __init__(self, tick_seconds: float) -> None:
        self.tick_seconds = tick_seconds
        self.number = 0
        self.prices = dict.fromkeys(SYMBOLS, 100.0)

    def on_start(self, server: vespiary.Server) -> None:
        """The first tick is set; each sets the next."""
        self.server = server
        server.set_timer(self.tick_seconds, self.tick)

    def on_open(self, connection: vespiary.Connection) -> None:
        """A subscriber is anybody who connects."""
        connection.subscribe("quotes")

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        """Say what compression saved; such a short answer is not worth compressing."""
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
        """Move the prices, and publish them all."""
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
