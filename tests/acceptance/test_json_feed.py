"""The example that publishes compressed JSON."""

import json
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from .conftest import Start

pytestmark = pytest.mark.acceptance


def receive(client: ClientConnection) -> Any:
    return json.loads(client.recv(timeout=60))


def test_every_subscriber_gets_every_tick_compressed_or_not(start: Start) -> None:
    example = start("json_feed.py", "ws://127.0.0.1:0/", TICK_SECONDS="0.05")
    url = example.urls[0]
    with connect(url) as packed, connect(url, compression=None) as plain:
        ticks = [[receive(client) for _ in range(5)] for client in (packed, plain)]
        for told in ticks:
            numbers = [tick["tick"] for tick in told]
            assert numbers == list(range(numbers[0], numbers[0] + 5))
            assert all(len(tick["quotes"]) == 50 for tick in told)
        by_number = {tick["tick"]: tick for tick in ticks[0]}
        shared = [tick for tick in ticks[1] if tick["tick"] in by_number]
        assert shared
        assert all(by_number[tick["tick"]] == tick for tick in shared)
    example.stop()


def test_the_feed_says_what_compression_saved(start: Start) -> None:
    example = start("json_feed.py", "ws://127.0.0.1:0/", TICK_SECONDS="0.05")
    with connect(example.urls[0]) as client:
        for _ in range(5):
            receive(client)
        client.send("statistics")
        told = receive(client)
        while "ratio" not in told:
            told = receive(client)
    assert told["ratio"] > 2.5
    assert told["original"] > told["compressed"] > 0
    assert told["memory"] < 1000, "what the client said, and no compressor"
    example.stop()
