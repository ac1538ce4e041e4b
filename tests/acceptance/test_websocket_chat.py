"""The chat: its page, its rooms, its manners, and the echo beside it."""

import json
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from .conftest import Example, Start

pytestmark = pytest.mark.acceptance


def chat(start: Start) -> Example:
    return start("websocket_chat", "ws://127.0.0.1:0/", "ws://127.0.0.1:0/")


def page_url(example: Example) -> str:
    return f"http://{example.urls[0].partition('://')[2]}"


def say(client: ClientConnection, **request: str) -> None:
    client.send(json.dumps(request))


def hear(client: ClientConnection) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(client.recv(timeout=60))
    return event


def enter(client: ClientConnection, room: str, name: str) -> dict[str, Any]:
    say(client, join=room, name=name)
    return hear(client)


def test_the_page_and_the_echo_are_named_and_there(start: Start) -> None:
    example = chat(start)
    example.wait_for(f"Chat page:  {page_url(example)}")
    example.wait_for(f"Echo:       {example.urls[1]}")
    response = httpx.get(page_url(example), trust_env=False)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert f'"echo": {urlsplit(example.urls[1]).port}' in response.text
    assert "innerHTML" not in response.text
    facts = json.loads(response.text.partition("const facts = ")[2].partition(";\n")[0])
    files = [file for file, shows in facts["examples"] if shows]
    assert len(files) == len(facts["examples"]) >= 30
    assert {"echo_callback.py", "tls_echo.py", "websocket_chat"} <= set(files)
    assert httpx.get(page_url(example) + "x", trust_env=False).status_code == 404
    assert httpx.post(page_url(example), trust_env=False).status_code == 405
    head = httpx.head(page_url(example), trust_env=False)
    assert head.headers["content-length"] == response.headers["content-length"]
    with connect(example.urls[1]) as client:
        client.send("five lines")
        assert client.recv(timeout=60) == "five lines"
    example.stop()


def test_people_meet_in_rooms_and_hear_only_their_own(start: Start) -> None:
    example = chat(start)
    url = example.urls[0]
    with connect(url) as ann, connect(url) as bob, connect(url) as eve:
        assert enter(ann, "nest", "Ann")["people"] == ["Ann"]
        assert enter(bob, "nest", "  Bob \n the  builder ")["name"] == "Bob the builder"
        assert hear(ann) == {"joined": "Bob the builder"}
        assert enter(eve, "garden", "Ann")["name"] == "Ann"
        say(bob, say="<b>hello</b>")
        for client in (ann, bob):
            heard = hear(client)
            assert (heard["said"], heard["name"]) == ("<b>hello</b>", "Bob the builder")
        welcome = enter(eve, "nest", "Ann")
        assert welcome["name"] == "Ann 2"
        assert welcome["people"] == ["Ann", "Bob the builder", "Ann 2"]
        assert [event["said"] for event in welcome["history"]] == ["<b>hello</b>"]
        assert hear(ann) == {"joined": "Ann 2"}
        bob.close()
        assert hear(ann) == {"left": "Bob the builder"}
        assert hear(eve) == {"left": "Bob the builder"}
    example.stop()


@pytest.mark.parametrize(
    "request_text",
    [
        "no JSON",
        "[" * 5000,
        "[]",
        '{"join": "nest"}',
        '{"join": "cellar", "name": "Ann"}',
        '{"join": "nest", "name": "\\u0000 \\n"}',
        '{"say": "before joining"}',
        '{"say": 5}',
    ],
)
def test_nonsense_is_refused_and_ends_nothing(start: Start, request_text: str) -> None:
    example = chat(start)
    with connect(example.urls[0]) as client:
        client.send(request_text)
        assert list(hear(client)) == ["refused"]
        client.send(request_text.encode())
        assert list(hear(client)) == ["refused"]
        assert enter(client, "nest", "Ann")["welcome"] == "nest"
        say(client, say=" ")
        assert list(hear(client)) == ["refused"]
        say(client, say="x" * 1001)
        assert list(hear(client)) == ["refused"]
    example.stop()


def test_pages_of_other_sites_may_not_talk_here(start: Start) -> None:
    example = chat(start)
    own = page_url(example).rstrip("/")
    with connect(example.urls[0], origin=Origin(own)) as client:
        assert enter(client, "nest", "Ann")["welcome"] == "nest"
    for foreign in ("http://evil.example", "null", own + "0"):
        with (
            pytest.raises(InvalidStatus) as refused,
            connect(
                example.urls[0],
                origin=Origin(foreign),
            ),
        ):
            pass
        assert refused.value.response.status_code == 403
    example.stop()


def test_history_is_bounded(start: Start) -> None:
    example = chat(start)
    with connect(example.urls[0]) as ann, connect(example.urls[0]) as bob:
        enter(ann, "nest", "Ann")
        for number in range(60):
            say(ann, say=str(number))
        for number in range(60):
            assert hear(ann)["said"] == str(number)
        history = enter(bob, "nest", "Bob")["history"]
        assert [event["said"] for event in history] == [str(number) for number in range(10, 60)]
    example.stop()


def test_pages_on_the_allow_list_may_talk_and_no_others(start: Start) -> None:
    origins = "https://wasps.test https://*.wasps.test"
    example = start(
        "websocket_chat", "ws://127.0.0.1:0/", "ws://127.0.0.1:0/", CHAT_ORIGINS=origins
    )
    for origin in ("https://wasps.test", "https://chat.wasps.test"):
        with connect(example.urls[0], origin=Origin(origin)) as client:
            assert "welcome" in enter(client, "nest", "Ann")
    for origin in ("http://wasps.test", "https://wasps.test.evil.test", page_url(example)):
        with (
            pytest.raises(InvalidStatus) as refused,
            connect(example.urls[0], origin=Origin(origin.rstrip("/"))),
        ):
            pass
        assert refused.value.response.status_code == 403
    example.stop()
