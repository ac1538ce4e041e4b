"""The examples with FastAPI and Flask: fastapi_items.py and flask_notes.py."""

import httpx
import pytest
from websockets.sync.client import connect

from tests.addresses import free_port

from .conftest import Start

pytestmark = pytest.mark.acceptance


def test_fastapi_has_items_events_and_a_websocket(start: Start) -> None:
    example = start("fastapi_items.py", "http://127.0.0.1:0")
    with httpx.Client(base_url=example.url, trust_env=False) as client:
        assert client.get("/items").json() == {"1": {"name": "honey", "price": 4.5}}
        assert client.post("/items", json={"name": "comb"}).json() == {"number": 2}
        assert client.get("/items/2").json() == {"name": "comb", "price": 0.0}
        assert client.get("/items/3").status_code == 404
        assert client.post("/items", json={}).status_code == 422
        assert client.get("/ticks?count=2").text == "data: 0\n\ndata: 1\n\n"
        assert client.get("/docs").status_code == 200
    with connect(f"{example.url.replace('http', 'ws', 1).rstrip('/')}/echo") as websocket:
        websocket.send("hello")
        assert websocket.recv(timeout=60) == "hello"
    example.stop()


def test_flask_publishes_notes_to_websockets(start: Start) -> None:
    port = free_port()
    example = start("flask_notes.py", f"127.0.0.1:{port}", serving=2)
    host = "127.0.0.1"
    page = f"http://{host}:{port}/notes"
    with connect(f"ws://{host}:{port}/live") as websocket:
        added = httpx.post(page, data={"text": "the hive has moved"}, trust_env=False)
        assert (added.status_code, added.json()) == (201, {"listeners": 1})
        assert websocket.recv(timeout=60) == "the hive has moved"
    assert httpx.get(page, trust_env=False).json() == ["the hive has moved"]
    example.stop()
