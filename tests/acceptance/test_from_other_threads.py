"""The example whose threads send."""

import json

import pytest
from websockets.sync.client import connect

from .conftest import Start

pytestmark = pytest.mark.acceptance


def test_threads_greet_and_publish(start: Start) -> None:
    example = start("from_other_threads.py", "ws://127.0.0.1:0")
    with connect(example.url) as one, connect(example.url) as two:
        for client in (one, two):
            received = [client.recv(timeout=60) for _ in range(6)]
            assert "welcome" in received
            received.remove("welcome")
            assert all(30 < json.loads(message)["celsius"] < 40 for message in received)
    example.stop()
