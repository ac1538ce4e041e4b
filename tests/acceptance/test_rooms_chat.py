"""The chat with rooms, for users with the cookie of the login."""

import json
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from .conftest import Example, Start

pytestmark = pytest.mark.acceptance


def cookie(example: Example, name: str, password: str) -> str:
    host = urlsplit(example.urls[0]).netloc
    url = f"http://{host}/login"
    response = httpx.get(url, auth=(name, password), trust_env=False).raise_for_status()
    assert "HttpOnly" in response.headers["set-cookie"]
    return f"session={response.cookies['session']}"


def enter(example: Example, room: str, cookie: str) -> ClientConnection:
    host = urlsplit(example.urls[0]).netloc
    return connect(f"ws://{host}/rooms/{room}", additional_headers={"Cookie": cookie})


def receive(client: ClientConnection) -> Any:
    return json.loads(client.recv(timeout=60))


def test_a_room_hears_its_own_users_only(start: Start) -> None:
    example = start("rooms_chat.py", "127.0.0.1:0", serving=2)
    ann, bob = cookie(example, "ann", "honey"), cookie(example, "bob", "nectar")
    with enter(example, "garden", ann) as one, enter(example, "attic", bob) as other:
        assert receive(one) == {"joined": "ann"}
        assert receive(other) == {"joined": "bob"}
        with enter(example, "garden", bob) as two:
            assert receive(one) == receive(two) == {"joined": "bob"}
            two.send("hello")
            assert receive(one) == receive(two) == {"from": "bob", "text": "hello"}
        assert receive(one) == {"left": "bob"}
        with pytest.raises(TimeoutError):
            other.recv(timeout=0.2)
    example.stop()


def test_without_the_cookie_nobody_enters(start: Start) -> None:
    example = start("rooms_chat.py", "127.0.0.1:0", serving=2)
    for name, password in (("ann", "nectar"), ("nobody", ""), ("nobody", "-"), ("", "")):
        with pytest.raises(httpx.HTTPStatusError, match="401"):
            cookie(example, name, password)
    good = cookie(example, "ann", "honey")
    for wrong in ("", "session=ann", good.replace("ann", "bob"), good[:-1]):
        with pytest.raises(InvalidStatus) as refused:
            enter(example, "garden", wrong)
        assert refused.value.response.status_code == 403
    example.stop()
