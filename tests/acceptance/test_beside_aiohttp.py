"""The example that runs beside an aiohttp application."""

import re

import httpx
import pytest
from websockets.sync.client import connect

from .conftest import Start

pytestmark = pytest.mark.acceptance


def test_a_request_to_aiohttp_reaches_every_websocket(start: Start) -> None:
    example = start("beside_aiohttp.py", "ws://127.0.0.1:0", "0")
    example.wait_for("Running on")
    found = re.search(r"Running on (http://\S+?) ", example.output)
    assert found, example.output
    with connect(example.urls[0]) as one, connect(example.urls[0]) as two:
        response = httpx.post(f"{found[1]}/news", content="the hive has moved", trust_env=False)
        assert response.json() == {"receivers": 2}
        assert [client.recv(timeout=60) for client in (one, two)] == ["the hive has moved"] * 2
    example.stop()
