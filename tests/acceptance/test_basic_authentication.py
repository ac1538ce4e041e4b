"""The echo behind a password: who may come in, and what the others are answered."""

import base64

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from .conftest import Example, Start

pytestmark = pytest.mark.acceptance


def echo(start: Start) -> Example:
    return start("basic_authentication.py", "ws://127.0.0.1:0/")


def page_url(example: Example) -> str:
    return f"http://{example.urls[0].partition('://')[2]}"


def credentials(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.mark.parametrize(("name", "password"), [("ann", "nest"), ("bob", "honey: & comb")])
def test_who_knows_the_password_talks_under_their_name(
    start: Start, name: str, password: str
) -> None:
    example = echo(start)
    headers = {"Authorization": credentials(name, password)}
    with connect(example.urls[0], additional_headers=headers) as client:
        client.send("hello")
        assert client.recv(timeout=60) == f"{name}: hello"
    page = httpx.get(page_url(example), auth=(name, password), trust_env=False)
    assert page.status_code == 200
    assert "new WebSocket" in page.text
    example.stop()


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        credentials("ann", "nes"),
        credentials("ann", "nest "),
        credentials("ann", ""),
        credentials("eve", ""),
        credentials("bob", "nest"),
        "Basic",
        "Basic !",
        "Basic YW5uOm5lc3Q",
        "Basic " + base64.b64encode(b"ann:\xff").decode(),
        "Bearer YW5uOm5lc3Q=",
    ],
)
def test_everybody_else_is_asked_who_they_are(start: Start, wrong: str | None) -> None:
    example = echo(start)
    headers = {} if wrong is None else {"Authorization": wrong}
    page = httpx.get(page_url(example), headers=headers, trust_env=False)
    assert page.status_code == 401
    assert page.headers["www-authenticate"] == 'Basic realm="wasps", charset="UTF-8"'
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(example.urls[0], additional_headers=headers),
    ):
        pass
    assert refused.value.response.status_code == 401
    assert refused.value.response.headers["WWW-Authenticate"].startswith("Basic ")
    example.stop()
