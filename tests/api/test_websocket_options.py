"""WebSocket: whose pages may connect, which subprotocol is chosen, which fields are added."""

import copy
import dataclasses
from typing import Any

import pytest
import websockets.asyncio.client
from websockets.typing import Subprotocol

import vespiary

from .kit import TCP, Echo, echo, serving, until

KNOWN = ("v2.chat", "v1.chat")


def from_page(origin: str | None) -> list[tuple[str, str]]:
    return [] if origin is None else [("Origin", origin)]


async def status_for(origin: str | None, options: vespiary.WebSocket) -> int:
    """The status that a page of this origin gets."""
    async with serving(Echo, websocket=options) as server:
        try:
            async with vespiary.connect(server.urls[0], headers=from_page(origin)):
                return 101
        except vespiary.HandshakeRefused as refused:
            return refused.status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://example.com", 101),
        ("https://a.b.example.com", 101),
        ("http://localhost:3000", 101),
        (None, 101),
        ("null", 403),
        ("http://example.com", 403),
        ("https://evilexample.com", 403),
        ("https://example.com.evil.test", 403),
    ],
)
async def test_pages_outside_the_allow_list_are_refused(origin: str | None, status: int) -> None:
    origins = ["https://example.com", "https://*.example.com", "http://localhost:*"]
    assert await status_for(origin, vespiary.WebSocket(origins=origins)) == status


async def test_a_null_origin_passes_only_where_it_is_named() -> None:
    assert await status_for("null", vespiary.WebSocket(origins=["null"])) == 101
    assert await status_for("null", vespiary.WebSocket(origins=[])) == 403
    assert await status_for("null", vespiary.WebSocket()) == 101


async def test_a_request_without_an_origin_is_refused_where_one_is_required() -> None:
    assert await status_for(None, vespiary.WebSocket(origin_required=True)) == 403
    assert await status_for("https://any.test", vespiary.WebSocket(origin_required=True)) == 101


async def test_a_refused_origin_never_reaches_the_handler() -> None:
    asked = []

    class Asked(Echo):
        def on_request(self, request: vespiary.Request) -> None:
            asked.append(request)

    async with serving(Asked, websocket=vespiary.WebSocket(origins=())) as server:
        with pytest.raises(vespiary.HandshakeRefused, match=r"pages of http://a\.test may not"):
            await vespiary.connect(server.urls[0], headers=from_page("http://a.test"))
        await until(lambda: server.statistics().total.connections_refused == {"status_403": 1})
    assert not asked


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["v1.chat", "v2.chat"], "v2.chat"),
        (["other", "v1.chat"], "v1.chat"),
        (["V2.chat"], None),
        ([], None),
    ],
)
async def test_the_servers_order_decides_among_subprotocols(
    offered: list[str], chosen: str | None
) -> None:
    async with serving(Echo, websocket=vespiary.WebSocket(subprotocols=KNOWN)) as server:
        asked = [Subprotocol(name) for name in offered]
        async with websockets.asyncio.client.connect(
            server.urls[0], subprotocols=asked or None
        ) as client:
            assert client.subprotocol == chosen
            assert client.response is not None
            assert ("Sec-WebSocket-Protocol" in client.response.headers) == (chosen is not None)


@pytest.mark.parametrize(
    ("choice", "chosen"), [(None, "v2.chat"), ("v1.chat", "v1.chat"), ("", None)]
)
async def test_the_handler_may_choose_otherwise(choice: str | None, chosen: str | None) -> None:
    class Choosing(Echo):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            return request.accept(choice)

    async with (
        serving(Choosing, websocket=vespiary.WebSocket(subprotocols=KNOWN)) as server,
        vespiary.connect(server.urls[0], subprotocols=KNOWN) as client,
    ):
        assert client.subprotocol == chosen


async def test_fields_of_the_options_and_of_the_handler_are_in_the_answer() -> None:
    class Adding(Echo):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            return request.accept(headers=[("X-Two", "2")])

    options = vespiary.WebSocket(headers=[("Server", "bees")])
    async with (
        serving(Adding, websocket=options) as server,
        websockets.asyncio.client.connect(server.urls[0]) as client,
    ):
        assert client.response is not None
        assert client.response.headers["Server"] == "bees"
        assert client.response.headers["X-Two"] == "2"


async def test_a_client_offers_what_its_options_name() -> None:
    server_options = vespiary.WebSocket(subprotocols=KNOWN)
    asked: list[vespiary.Request] = []

    class Noting(Echo):
        def on_request(self, request: vespiary.Request) -> None:
            asked.append(request)

    options = vespiary.WebSocket(subprotocols=["v1.chat"], headers=[("X-Bee", "1")])
    async with serving(Noting, websocket=server_options) as server:
        async with vespiary.connect(server.urls[0], websocket=options) as client:
            assert client.subprotocol == "v1.chat"
        async with vespiary.connect(
            server.urls[0], websocket=options, subprotocols=["v2.chat"]
        ) as client:
            assert client.subprotocol == "v2.chat"
    assert [request.headers["X-Bee"] for request in asked] == ["1", "1"]


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("versions", [], "each once"),
        ("versions", [13, 13], "each once"),
        ("versions", [7], "the supported versions"),
        ("origins", "https://example.com", "a sequence of texts"),
        ("origins", ["example.com"], "names no scheme"),
        ("origins", ["https://example.com/"], "without a slash"),
        ("origins", [None], "a sequence of texts"),
        ("origin_required", 1, "True or False"),
        ("subprotocols", "chat", "a sequence of texts"),
        ("subprotocols", ["a b"], "is not a token"),
        ("subprotocols", [""], "is not a token"),
        ("subprotocols", ["a", "a"], "once"),
        ("headers", [("Upgrade", "x")], "written by the handshake itself"),
        ("headers", [("X-Bee", "a\r\nb: c")], "control character"),
        ("headers", [("X Bee", "a")], "token"),
    ],
)
def test_a_field_that_cannot_be_is_reported(field: str, value: Any, told: str) -> None:
    with pytest.raises(vespiary.ConfigurationError, match=told) as wrong:
        vespiary.WebSocket(**{field: value})
    assert wrong.value.subject == field


def test_the_options_are_a_value() -> None:
    options = vespiary.WebSocket(origins=["null"], subprotocols=["a"], headers=[("X", "y")])
    assert options == copy.deepcopy(options)
    assert hash(options) == hash(dataclasses.replace(options))
    assert options.origins == ("null",)
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.versions = ()  # type: ignore[misc]


async def test_only_a_websocket_endpoint_takes_them() -> None:
    for url in (TCP, "unix:///tmp/nothing.sock"):
        server = vespiary.Server()
        with pytest.raises(
            vespiary.ConfigurationError, match="remove websocket=, or serve a ws://"
        ):
            server.add(echo, url, websocket=vespiary.WebSocket())
    with pytest.raises(vespiary.ConfigurationError, match="remove websocket=, or serve a ws://"):
        vespiary.connect("tcp://127.0.0.1:1", websocket=vespiary.WebSocket())
