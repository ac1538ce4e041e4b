"""Gateways (`vespiary.wasp.gateway`): what arrives goes on to other servers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import vespiary
from vespiary.wasp.gateway import (
    Health,
    Proxy,
    ProxyOptions,
)

from .gateways import GET, HTTP, Raw, asked, before_raw, dead, upstream
from .kit import WS, forever, reset, serving, streams, until

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@asynccontextmanager
async def proxied(
    handler: Any,
    *others: str,
    url: str = HTTP,
    behind: str = WS,
    health: Health | None = None,
    limits: vespiary.Limits | None = None,
    **options: Any,
) -> AsyncIterator[tuple[vespiary.Server, Proxy]]:
    """A proxy in front of a server."""
    limits = limits or vespiary.Limits(body_bytes_max=100 << 20)
    async with serving(handler, behind, limits=limits) as server:
        first = server.urls[0].replace("ws:", "http:").replace("ws+unix:", "http+unix:")
        proxy = Proxy([upstream(one) for one in (first, *others)], health, ProxyOptions(**options))
        async with serving(proxy, url, limits=limits) as front:
            yield front, proxy


class App(vespiary.Handler):
    """Says what it was asked."""

    stream_requests = True

    def __init__(self) -> None:
        self.requests: list[vespiary.Request] = []
        self.cancelled = 0

    async def on_request(self, request: vespiary.Request) -> vespiary.Response:
        self.requests.append(request)
        if request.is_upgrade:
            return request.accept(subprotocol=(request.subprotocols or [""])[0])
        if request.target == "/refuse":
            return request.respond(413, "no")
        if request.target == "/slow":
            try:
                await forever()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        body = await request.read()
        if request.target == "/large":
            return request.respond(200, self.pieces())
        return request.respond(200, b"%d" % len(body), [("Set-Cookie", "a"), ("Set-Cookie", "b")])

    async def pieces(self) -> AsyncIterator[bytes]:
        for number in range(100):
            yield bytes([number]) * 100_000

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        if message == "close":
            connection.close(4000, "done")
        else:
            connection.send(message)


async def test_fields_are_passed_on_without_those_of_the_connection() -> None:
    app = App()
    request = (
        b"GET /a?b=%20 HTTP/1.1\r\nHost: example.com:81\r\nConnection: X-One, close\r\nX-One: 1\r\n"
        b"TE: trailers\r\nUpgrade: h2c\r\nKeep-Alive: 1\r\nX-Two: 2\r\nX-Two: 3\r\nVia: 1.0 a\r\n"
        b"X-Forwarded-For: 9.9.9.9\r\nX_Forwarded_For: 9.9.9.9\r\nForwarded: for=x\r\n\r\n"
    )
    async with proxied(app, forwarded="both") as (server, _):
        answer = await asked(server, request, b"")
    assert app.requests[0].headers.lines == (
        ("Host", "example.com:81"),
        ("X-Two", "2"),
        ("X-Two", "3"),
        ("Via", "1.0 a, 1.1 vespiary"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Host", "example.com:81"),
        ("X-Forwarded-Proto", "http"),
        ("Forwarded", 'for="127.0.0.1";host="example.com:81";proto=http'),
    )
    assert app.requests[0].target == "/a?b=%20"
    assert answer.lower().count("set-cookie: ") == 2


@pytest.mark.parametrize(
    ("policy", "host"), [("preserve", "example.com"), ("upstream", None), ("app.test", "app.test")]
)
async def test_the_host_that_a_server_sees(policy: str, host: str | None) -> None:
    app = App()
    async with proxied(app, host_header=policy) as (server, proxy):
        await asked(server, GET)
        own = proxy.upstream_statistics()[0].url.removeprefix("http://").rstrip("/")
    assert app.requests[0].authority == (host or own)


@pytest.mark.parametrize("size", [0, 1, 70_000, 10_000_000])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_bodies_go_on_as_they_come(size: int, is_chunked: bool) -> None:
    app = App()
    body = b"x" * size
    framing = f"Content-Length: {size}"
    if is_chunked:
        framing = "Transfer-Encoding: chunked"
        body = (b"%x\r\n%b\r\n" % (size, body) if size else b"") + b"0\r\n\r\n"
    head = f"POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n".encode()
    async with proxied(app) as (server, _):
        answer = await asked(server, head + body, b"\r\n\r\n%d" % size)
    assert answer.startswith("HTTP/1.1 200 OK\r\n")


async def test_a_large_response_comes_whole() -> None:
    async with proxied(App()) as (server, _), streams(server) as (reader, writer):
        writer.write(b"GET /large HTTP/1.0\r\n\r\n")
        data = await reader.read()
    body = data.partition(b"\r\n\r\n")[2]
    assert body == b"".join(bytes([number]) * 100_000 for number in range(100))


async def test_connections_with_a_server_are_kept() -> None:
    raw = Raw([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"] * 9)
    async with before_raw(raw) as (server, _):
        for _ in range(5):
            assert (await asked(server, GET, b"ok")).startswith("HTTP/1.1 200")
        assert raw.connections == 1
        # A request that cannot be repeated does not use one that the server may be closing.
        post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
        assert (await asked(server, post, b"ok")).startswith("HTTP/1.1 200")
        assert raw.connections == 2


async def test_a_kept_connection_that_the_server_has_closed_is_replaced() -> None:
    raw = Raw([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"] * 3, closes=True)
    async with before_raw(raw) as (server, proxy):
        for _ in range(3):
            assert (await asked(server, GET, b"ok")).startswith("HTTP/1.1 200")
        assert proxy.upstream_statistics()[0].failures == 0


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", 502),
        (b"nonsense\r\n\r\n", 502),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 502),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", 304),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 502),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
            200,
        ),
    ],
)
async def test_answers_of_servers(answer: bytes, status: int) -> None:
    async with before_raw(Raw([answer] * 3), retries_max=0) as (server, _):
        assert (await asked(server, GET)).startswith(f"HTTP/1.1 {status} ")


async def test_head_has_the_fields_of_the_server() -> None:
    raw = Raw([b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"] * 2)
    async with before_raw(raw) as (server, _):
        answer = await asked(server, GET.replace(b"GET", b"HEAD"))
    assert "content-length: 999\r\n" in answer.lower()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_server_that_cannot_be_reached_is_passed_over(method: str) -> None:
    app = App()
    request = f"{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode()
    async with proxied(app, dead()) as (server, proxy):
        for _ in range(8):
            assert (await asked(server, request)).startswith("HTTP/1.1 200 ")
        first, second = proxy.upstream_statistics()
    assert (first.requests, first.failures, first.active, first.available) == (8, 0, 0, True)
    # After three failures in a row it is not asked any more.
    assert (second.failures, second.available) == (3, False)


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 502)])
async def test_a_request_is_repeated_only_if_it_is_idempotent(method: str, status: int) -> None:
    app = App()
    request = f"{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode()
    broken = Raw([])
    async with serving(app, WS) as behind:
        good = behind.urls[0].replace("ws:", "http:")
        async with before_raw(broken, good) as (server, _):
            statuses = {(await asked(server, request))[9:12] for _ in range(2)}
    assert statuses == {"200", str(status)}
    assert len(broken.requests) >= 1


async def test_a_body_that_has_begun_is_not_sent_again() -> None:
    app, broken = App(), Raw([])
    request = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    async with serving(app, WS) as behind:
        good = behind.urls[0].replace("ws:", "http:")
        async with before_raw(broken, good) as (server, _):
            answers = [(await asked(server, request, b"\r\n\r\n"))[9:12] for _ in range(2)]
    assert sorted(answers) == ["200", "502"]


async def test_no_server_is_503_and_a_dead_one_502_and_a_slow_one_504() -> None:
    async with serving(Proxy([upstream(dead())], None, ProxyOptions()), HTTP) as server:
        assert (await asked(server, GET)).startswith("HTTP/1.1 502 ")
    async with proxied(App(), response_seconds=0.05) as (server, _):
        assert (await asked(server, GET.replace(b"/ ", b"/slow "))).startswith("HTTP/1.1 504 ")


async def test_a_client_that_leaves_ends_its_request() -> None:
    app = App()
    async with proxied(app) as (server, proxy):
        async with streams(server) as (_, writer):
            writer.write(GET.replace(b"/ ", b"/slow "))
            await until(lambda: app.requests)
            reset(writer)
        await until(lambda: app.cancelled)
        await until(lambda: proxy.upstream_statistics()[0].active == 0)
        assert proxy.upstream_statistics()[0].failures == 0


async def test_a_body_that_is_refused_does_not_count_as_a_failure() -> None:
    limits = vespiary.Limits(body_bytes_max=100)
    async with proxied(App(), limits=limits) as (server, proxy):
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = await asked(server, head + b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n")
        assert answer.startswith("HTTP/1.1 413 ")
        assert proxy.upstream_statistics()[0].failures == 0


async def test_an_answer_before_the_end_of_the_body_is_passed_on() -> None:
    async with proxied(App()) as (server, _):
        head = b"POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
        assert (await asked(server, head + b"x" * 1000)).startswith("HTTP/1.1 413 ")


SMUGGLING = [
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0"
    b"\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n X: b\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", SMUGGLING)
async def test_an_ambiguous_request_reaches_no_server(request_bytes: bytes) -> None:
    raw = Raw([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"] * 9)
    async with before_raw(raw) as (server, _):
        assert (await asked(server, request_bytes))[9:10] == "4"
    assert raw.requests == []


async def test_a_body_that_looks_like_a_request_stays_a_body() -> None:
    raw = Raw([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"] * 9)
    inner = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"
    named = (
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\nContent-Length: %d\r\n\r\n"
    )
    async with before_raw(raw) as (server, _):
        await asked(server, named % len(inner) + inner)
    assert b"Content-Length: %d" % len(inner) in raw.requests[0]


async def test_health_checks_take_servers_out_and_in() -> None:
    class Sick(App):
        is_sick = False

        async def on_request(self, request: vespiary.Request) -> vespiary.Response:
            if request.target == "/health":
                return request.respond(500 if self.is_sick else 204)
            return await super().on_request(request)

    app = Sick()
    health = Health("/health", interval_seconds=0.01, timeout_seconds=30.0)
    async with proxied(app, health=health) as (server, proxy):
        assert (await asked(server, GET)).startswith("HTTP/1.1 200 ")
        app.is_sick = True
        await until(lambda: not proxy.upstream_statistics()[0].available)
        assert (await asked(server, GET)).startswith("HTTP/1.1 503 ")
        app.is_sick = False
        await until(lambda: proxy.upstream_statistics()[0].available)
        assert (await asked(server, GET)).startswith("HTTP/1.1 200 ")


async def test_health_checks_begin_when_the_server_accepts() -> None:
    asked_for: list[str] = []

    class Behind(App):
        async def on_request(self, request: vespiary.Request) -> vespiary.Response:
            asked_for.append(request.target)
            return request.respond(204)

    class Slow(vespiary.Handler):
        async def on_start(self, server: vespiary.Server) -> None:
            for _ in range(20):
                assert (await asked(behind, GET)).startswith("HTTP/1.1 204 ")

        def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
            connection.send(message)

    health = Health("/health", interval_seconds=0.001, timeout_seconds=30.0)
    async with serving(Behind(), HTTP) as behind:
        front = vespiary.Server(signals=False)
        front.add(Proxy([upstream(behind.urls[0])], health, ProxyOptions()), HTTP)
        front.add(Slow(), "tcp://127.0.0.1:0")
        async with front:
            assert asked_for == ["/"] * 20
            await until(lambda: "/health" in asked_for)


async def test_servers_on_unix_sockets(tmp_path: Path) -> None:
    app = App()
    async with proxied(app, behind=f"ws+unix://{tmp_path}/s:/") as (server, _):
        assert (await asked(server, GET)).startswith("HTTP/1.1 200 ")
    assert app.requests[0].authority == "example.com"


async def test_websockets_are_passed_on() -> None:
    app = App()
    async with proxied(app, url=WS, passes_websockets=True) as (server, proxy):
        url = server.urls[0]
        async with vespiary.connect(
            f"{url}chat?x=1", subprotocols=["a", "b"], headers=[("Cookie", "c=1")]
        ) as client:
            assert client.subprotocol == "a"
            client.send("text")
            client.send(b"x" * 100_000)
            assert await client.receive() == "text"
            assert await client.receive() == b"x" * 100_000
            assert proxy.upstream_statistics()[0].active == 1
            client.send("close")
            reason = await client.wait_closed()
        assert (reason.code, reason.text) == (4000, "done")
        await until(lambda: proxy.upstream_statistics()[0].active == 0)
        assert (await asked(server, GET)).startswith("HTTP/1.1 200 ")
    seen = app.requests[0]
    assert (seen.target, seen.cookies["c"]) == ("/chat?x=1", "1")
    assert seen.headers["x-forwarded-for"] == "127.0.0.1"


async def test_a_websocket_that_a_server_refuses_is_refused() -> None:
    class Refusing(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            return request.respond(403, "not you", {"X-Why": "bees"})

    async with proxied(Refusing(), url=WS, passes_websockets=True) as (server, _):
        with pytest.raises(vespiary.HandshakeRefused) as caught:
            await vespiary.connect(server.urls[0])
    assert (caught.value.status, caught.value.body) == (403, b"not you")
    assert caught.value.headers["x-why"] == "bees"


@pytest.mark.parametrize("leaves", ["before the answer", "with the answer"])
@pytest.mark.parametrize("ends", ["reset", "end"])
async def test_a_websocket_whose_client_leaves_in_the_handshake_is_closed_behind(
    leaves: str, ends: str
) -> None:
    asked, answers = asyncio.Event(), asyncio.Event()
    behind: list[vespiary.Connection] = []

    class Slow(vespiary.Handler):
        async def on_request(self, request: vespiary.Request) -> vespiary.Response:
            behind.append(request.connection)
            asked.set()
            await answers.wait()
            return request.accept()

        def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
            """Nothing comes."""

    async with (
        proxied(Slow(), url=WS, passes_websockets=True) as (server, proxy),
        streams(server) as (_, writer),
    ):
        writer.write(HANDSHAKE)
        await asked.wait()
        if leaves == "with the answer":
            answers.set()
        if ends == "reset":
            reset(writer)
        else:
            writer.close()
        if leaves == "before the answer":
            await until(lambda: not server.statistics().total.handshakes_pending)
        answers.set()
        await until(lambda: behind[0].close_reason is not None)
        await until(lambda: proxy.upstream_statistics()[0].active == 0)


@pytest.mark.parametrize("turns", range(4))
async def test_a_websocket_whose_client_leaves_between_both_answers_is_closed_behind(
    turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind: list[vespiary.Connection] = []
    clients: list[asyncio.StreamWriter] = []
    connect = vespiary.connect

    async def connect_and_leave(*arguments: Any, **options: Any) -> vespiary.Connection:
        behind.append(await connect(*arguments, **options))
        reset(clients[0])
        for _ in range(turns):
            await asyncio.sleep(0)
        return behind[0]

    async with proxied(App(), url=WS, passes_websockets=True) as (server, proxy):
        monkeypatch.setattr(vespiary, "connect", connect_and_leave)
        async with streams(server) as (_, writer):
            clients.append(writer)
            writer.write(HANDSHAKE)
            await until(lambda: behind and behind[0].close_reason is not None)
            await until(lambda: proxy.upstream_statistics()[0].active == 0)
