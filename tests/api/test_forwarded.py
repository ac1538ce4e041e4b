"""Servers behind proxies that name their client in each request."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import vespiary

from .kit import Echo, serving, streams, until

LOOPBACK = ["127.0.0.0/8", "::1"]


class Peers(vespiary.Handler):
    """Answers each request, or opens each WebSocket, with the address of its client."""

    def __init__(self) -> None:
        self.requests: list[vespiary.Request] = []
        self.ended: list[Any] = []

    def on_request(self, request: vespiary.Request) -> vespiary.Response | None:
        self.requests.append(request)
        return request.respond(200, str(request.peer)) if not request.is_upgrade else None

    def on_open(self, connection: vespiary.Connection) -> None:
        connection.send(str(connection.peer))

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        self.ended.append(connection.peer)


class Client:
    """A connection over which requests are sent by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.own = writer.get_extra_info("sockname")

    async def ask(self, *fields: str) -> tuple[int, str]:
        lines = ["GET / HTTP/1.1", "Host: example.com", *fields, "", ""]
        self._writer.write("\r\n".join(lines).encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        length = head.partition("Content-Length: ")[2].partition("\r\n")[0]
        body = await self._reader.readexactly(int(length))
        return int(head[9:12]), body.decode()


@contextlib.asynccontextmanager
async def connected(server: vespiary.Server) -> AsyncIterator[Client]:
    async with streams(server) as (reader, writer):
        yield Client(reader, writer)


async def test_a_request_has_the_address_of_the_client_that_the_proxy_names() -> None:
    handler = Peers()
    async with (
        serving(handler, "http://127.0.0.1:0", forwarded_from=LOOPBACK) as server,
        connected(server) as client,
    ):
        assert await client.ask("X-Forwarded-For: 192.0.2.7") == (200, "('192.0.2.7', 0)")
        # What the client wrote itself stands in front of what the proxy appended.
        forged = "X-Forwarded-For: 198.51.100.1, 192.0.2.8"
        assert await client.ask(forged) == (200, "('192.0.2.8', 0)")
        assert await client.ask() == (200, str(client.own))
        assert await client.ask("Forwarded: for=192.0.2.9") == (200, str(client.own))
    # Each request keeps its client's address.
    found = [request.peer for request in handler.requests]
    assert found == [("192.0.2.7", 0), ("192.0.2.8", 0), client.own, client.own]


async def test_the_field_can_be_that_of_rfc_7239() -> None:
    options: Any = {"forwarded_from": LOOPBACK, "forwarded_field": "forwarded"}
    async with (
        serving(Peers, "http://127.0.0.1:0", **options) as server,
        connected(server) as client,
    ):
        field = 'Forwarded: for=198.51.100.1, for="[2001:db8::7]:47";proto=https'
        assert await client.ask(field) == (200, "('2001:db8::7', 47)")
        assert await client.ask("X-Forwarded-For: 192.0.2.7") == (200, str(client.own))


async def test_a_websocket_belongs_to_the_client_that_opened_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", "vespiary")
    handler = Peers()
    headers = {"X-Forwarded-For": "192.0.2.7"}
    async with serving(handler, "ws://127.0.0.1:0", forwarded_from=LOOPBACK) as server:
        async with vespiary.connect(server.urls[0], headers=headers) as client:
            assert await client.receive() == "('192.0.2.7', 0)"
        await until(lambda: handler.ended)
    assert handler.ended == [("192.0.2.7", 0)]
    assert "192.0.2.7:0" in caplog.text


async def test_nobody_else_can_name_a_client() -> None:
    async with (
        serving(Peers, "http://127.0.0.1:0", forwarded_from=["192.0.2.0/24"]) as server,
        connected(server) as client,
    ):
        assert await client.ask("X-Forwarded-For: 192.0.2.7") == (200, str(client.own))


async def test_peers_of_a_unix_socket_are_proxies_where_it_says_so(tmp_path: Path) -> None:
    url = f"http+unix://{tmp_path}/s"
    async with (
        serving(Peers, url, forwarded_from=["unix"]) as server,
        connected(server) as client,
    ):
        assert await client.ask("X-Forwarded-For: 192.0.2.7") == (200, "('192.0.2.7', 0)")
        assert (await client.ask())[0] == 200


async def test_the_limit_per_address_counts_the_proxys_clients() -> None:
    limits = vespiary.Limits(connections_per_address_max=1)
    options: Any = {"forwarded_from": LOOPBACK, "limits": limits}
    async with serving(Peers, "ws://127.0.0.1:0", **options) as server:
        async with contextlib.AsyncExitStack() as opened:
            for number in (1, 2, 3):
                headers = {"X-Forwarded-For": f"192.0.2.{number}"}
                one = vespiary.connect(server.urls[0], headers=headers)
                await opened.enter_async_context(one)
            with pytest.raises(vespiary.HandshakeRefused) as refused:
                await vespiary.connect(server.urls[0], headers={"X-Forwarded-For": "192.0.2.2"})
            assert refused.value.status == 503
        limits_reached = server.statistics().endpoints[0].limits_reached
        assert limits_reached["connections_per_address_max"] == 1


@pytest.mark.parametrize(
    ("url", "options", "text"),
    [
        ("tcp://127.0.0.1:0", {"forwarded_from": LOOPBACK}, "forwarded_from= is for ws:// and"),
        ("ws://127.0.0.1:0", {"forwarded_from": ["x"]}, "forwarded_from= takes IP addresses"),
        ("ws://127.0.0.1:0", {"forwarded_field": "forwarded"}, "without forwarded_from="),
        (
            "ws://127.0.0.1:0",
            {"forwarded_from": LOOPBACK, "forwarded_field": "X-Real-IP"},
            "is one of x-forwarded-for, forwarded; got 'X-Real-IP'",
        ),
    ],
)
def test_options_without_effect_are_refused(url: str, options: Any, text: str) -> None:
    with pytest.raises(vespiary.ConfigurationError) as refused:
        vespiary.Server().add(Echo, url, **options)
    assert text in str(refused.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"forwarded_from": ["127.0.0.1"]}, {"forwarded_from": ("127.0.0.1/32",)}),
        ({"forwarded_from": ["10.0.0.0/8"]}, {"forwarded_from": ["10.0.0.0/255.0.0.0"]}),
        (
            {"forwarded_from": LOOPBACK},
            {"forwarded_from": LOOPBACK, "forwarded_field": "x-forwarded-for"},
        ),
        ({"proxy_protocol_from": []}, {}),
    ],
)
def test_endpoints_of_an_address_agree_on_proxies_however_they_are_written(
    one: Any, other: Any
) -> None:
    server = vespiary.Server()
    server.add(Echo, "ws://127.0.0.1:8080/one", **one)
    server.add(Echo, "ws://127.0.0.1:8080/other", **other)


@pytest.mark.parametrize("name", ["forwarded_from", "proxy_protocol_from"])
def test_endpoints_of_an_address_that_disagree_on_proxies_are_refused(name: str) -> None:
    one: Any = {name: ["10.0.0.0/8"]}
    other: Any = {name: LOOPBACK}
    server = vespiary.Server()
    server.add(Echo, "ws://127.0.0.1:8080/one", **one)
    with pytest.raises(vespiary.ConfigurationError, match=f"{name} applies before the path"):
        server.add(Echo, "ws://127.0.0.1:8080/other", **other)
