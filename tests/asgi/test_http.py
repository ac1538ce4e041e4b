"""ASGI's HTTP messages: what the application gets, and what becomes a response."""

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import vespiary
from tests.logs import records

from .kit import (
    HTTP,
    Receive,
    Send,
    ask,
    connected,
    respond,
    serving,
    turns,
    until,
    virtual_time,
)


class Scopes:
    """Remembers each scope, and answers 200."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(scope["type"])
        self.found.append(scope)
        await respond(send)


async def test_the_scope_says_everything_of_a_request() -> None:
    app = Scopes()
    async with serving(vespiary.ASGI(app), HTTP) as server, connected(server) as client:
        client.send(
            b"POST /caf%C3%A9/a%2Fb?x=1&y=%20 HTTP/1.1\r\nHost: example.com\r\nX-Two: 1\r\n"
            b"Content-Length: 0\r\nx-two: \xe9\r\n\r\n"
        )
        assert (await client.reply("POST")).status == 200
        (scope,) = app.found
        assert scope["client"] == client.writer.get_extra_info("sockname")
        assert scope["server"] == client.writer.get_extra_info("peername")
    del scope["client"], scope["server"]
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/café/a/b",
        "raw_path": b"/caf%C3%A9/a%2Fb",
        "query_string": b"x=1&y=%20",
        "root_path": "",
        "headers": [
            (b"host", b"example.com"),
            (b"x-two", b"1"),
            (b"content-length", b"0"),
            (b"x-two", b"\xe9"),
        ],
        "state": {},
        "extensions": {
            "http.response.early_hint": {},
            "http.response.pathsend": {},
            "http.response.trailers": {},
        },
    }


async def test_a_root_path_is_put_before_the_path() -> None:
    app = Scopes()
    async with (
        serving(vespiary.ASGI(app, root_path="/api/"), HTTP) as server,
        connected(server) as client,
    ):
        await client.ask("GET", "/users?x")
    (scope,) = app.found
    assert (scope["root_path"], scope["path"]) == ("/api", "/api/users")
    assert scope["raw_path"] == b"/api/users"


async def test_a_root_path_that_the_endpoint_serves_is_in_the_path_already() -> None:
    app = Scopes()
    handler = vespiary.ASGI(app, root_path="/api")
    async with serving(handler, f"{HTTP}/api/{{rest:path}}") as server, connected(server) as client:
        assert (await client.ask("GET", "/api/users")).status == 200
        assert (await client.ask("GET", "/users")).status == 404
    (scope,) = app.found
    assert (scope["root_path"], scope["path"]) == ("/api", "/api/users")
    assert scope["raw_path"] == b"/api/users"


async def test_http_1_0_and_tls_are_in_the_scope(
    tls: vespiary.ServerTLS, trusting: vespiary.ClientTLS
) -> None:
    app = Scopes()
    async with serving(vespiary.ASGI(app), HTTP) as server, connected(server) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.reader.read()).startswith(b"HTTP/1.1 200")
    async with (
        serving(vespiary.ASGI(app), "https://127.0.0.1:0", tls=tls) as server,
        httpx.AsyncClient(verify=False) as browser,
    ):
        assert (await browser.get(server.urls[0])).status_code == 200
    assert [scope["http_version"] for scope in app.found] == ["1.0", "1.1"]
    assert [scope["scheme"] for scope in app.found] == ["http", "https"]


async def test_a_unix_socket_is_the_server_of_the_scope(tmp_path: Path) -> None:
    app = Scopes()
    path = tmp_path / "socket"
    async with (
        serving(vespiary.ASGI(app), f"http+unix://{path}:/") as server,
        connected(server) as client,
    ):
        await client.ask("GET", "/")
    (scope,) = app.found
    assert scope["server"] == (str(path), None)
    assert scope["client"] is None


async def test_a_trusted_proxy_names_the_client_and_the_scheme() -> None:
    app = Scopes()
    options: dict[str, Any] = {"forwarded_from": ["127.0.0.1"]}
    async with serving(vespiary.ASGI(app), HTTP, **options) as server, connected(server) as client:
        forwarded = {"X_Forwarded_For": "192.0.2.7", "X_Forwarded_Proto": "https"}
        await client.ask("GET", "/", None, **forwarded)
        await client.ask("GET", "/", None, X_Forwarded_Proto="gopher")
    assert app.found[0]["client"] == ("192.0.2.7", 0)
    assert [scope["scheme"] for scope in app.found] == ["https", "http"]


async def test_anybody_else_cannot_choose_the_scheme() -> None:
    app = Scopes()
    options: dict[str, Any] = {"forwarded_from": ["192.0.2.1"]}
    async with serving(vespiary.ASGI(app), HTTP, **options) as server, connected(server) as client:
        await client.ask("GET", "/", None, X_Forwarded_Proto="https")
    assert app.found[0]["scheme"] == "http"


async def echo(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        assert message["type"] == "http.request"
        body += message["body"]
        more = message["more_body"]
    await respond(send, body)


@pytest.mark.parametrize("size", [0, 1, 1000, 100_000, 1 << 20])
async def test_bodies_come_whole_by_length_and_in_chunks(size: int) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, size, 7000):
            yield b"x" * min(7000, size - start)

    async with serving(vespiary.ASGI(echo), HTTP) as server, httpx.AsyncClient() as client:
        url = server.urls[0]
        assert (await client.post(url, content=b"x" * size)).content == b"x" * size
        assert (await client.post(url, content=chunks())).content == b"x" * size


async def test_a_body_is_received_piece_by_piece_while_it_comes() -> None:
    received: list[bytes] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        while (message := await receive())["more_body"]:
            received.append(message["body"])
        await respond(send, b"done")

    async with serving(vespiary.ASGI(app), HTTP) as server, connected(server) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        await until(lambda: b"".join(received) == b"abc")
        client.send(b"def")
        assert (await client.reply("POST")).body == b"done"


async def test_a_client_that_expects_100_gets_it_when_the_body_is_received() -> None:
    async with serving(vespiary.ASGI(echo), HTTP) as server, connected(server) as client:
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"abc")
        assert (await client.reply("POST")).body == b"abc"


async def test_a_response_of_one_piece_has_its_length() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = ((b"x-two", b"1"), (b"X-Two", b"\xe9"))
        await respond(send, b"hello", 201, headers)

    reply = await ask(app)
    assert (reply.status, reply.body) == (201, b"hello")
    assert reply.header(b"content-length") == b"5"
    assert [value for name, value in reply.headers if name == b"x-two"] == [b"1", b"\xe9"]
    assert reply.header(b"date") is not None


async def test_a_response_of_several_pieces_is_sent_as_it_comes() -> None:
    go_on = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"two", "more_body": True})
        await send({"type": "http.response.body"})

    async with serving(vespiary.ASGI(app), HTTP) as server, connected(server) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head.lower()
        assert await client.reader.readexactly(8) == b"3\r\none\r\n"
        go_on.set()
        assert await client.reader.readexactly(13) == b"3\r\ntwo\r\n0\r\n\r\n"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_length_of_the_applications_own_is_used(method: str) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"6")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if method == "GET":
            await send({"type": "http.response.body", "body": b"abc", "more_body": True})
            await send({"type": "http.response.body", "body": b"def", "more_body": False})
        else:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    reply = await ask(app, method)
    assert reply.header(b"content-length") == b"6"
    assert reply.header(b"transfer-encoding") is None
    assert reply.body == (b"abcdef" if method == "GET" else b"")


async def test_how_a_body_is_framed_is_the_servers_matter() -> None:
    """Django adds a length to a 204 (RFC 9110 section 8.6), and applications say `chunked`."""

    async def empty(scope: Any, receive: Receive, send: Send) -> None:
        await respond(send, b"", 204, [(b"content-length", b"0"), (b"x-bee", b"1")])

    reply = await ask(empty)
    assert (reply.status, reply.header(b"x-bee")) == (204, b"1")
    assert reply.header(b"content-length") is None

    async def chunked(scope: Any, receive: Receive, send: Send) -> None:
        headers = [(b"Transfer-Encoding", b"Chunked")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"bees ", "more_body": True})
        await send({"type": "http.response.body", "body": b"buzz"})

    reply = await ask(chunked)
    assert (reply.status, reply.body) == (200, b"bees buzz")
    assert [value for name, value in reply.headers if name == b"transfer-encoding"] == [b"chunked"]

    async def coded(scope: Any, receive: Receive, send: Send) -> None:
        await respond(send, b"", 200, [(b"transfer-encoding", b"gzip")])

    assert (await ask(coded)).status == 500


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_gets_none(status: int) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await respond(send, b"" if status == 204 else b"ignored", status)

    async with serving(vespiary.ASGI(app), HTTP) as server, connected(server) as client:
        for _ in range(2):
            reply = await client.ask("GET", "/")
            assert (reply.status, reply.body) == (status, b"")


async def test_trailers_are_sent_behind_the_body() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": b"hello"})
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"5")]})

    reply = await ask(app, "GET", "/", None, TE="trailers")
    assert (reply.body, reply.trailers) == (b"hello", [(b"x-sum", b"5")])


async def test_early_hints_are_sent_before_the_response() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        links = [b"</style.css>; rel=preload"]
        await send({"type": "http.response.early_hint", "links": links})
        await respond(send, b"hello")

    reply = await ask(app)
    assert reply.informational == [(103, [(b"link", b"</style.css>; rel=preload")])]
    assert reply.body == b"hello"


async def test_a_file_is_sent_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 5000)

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.pathsend", "path": str(path)})

    assert (await ask(app)).body == path.read_bytes()


async def test_sending_waits_for_a_client_that_does_not_read() -> None:
    sent = 0

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200})
        for _ in range(300):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            sent += 1
        await send({"type": "http.response.body"})

    async with (
        serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server,
        connected(server) as client,
    ):
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        before = -1
        while sent != before:
            before = sent
            await turns(100)
        assert 0 < sent < 250
        assert len((await client.reply()).body) == 30_000_000


async def test_requests_of_several_connections_run_at_the_same_time() -> None:
    waiting = 0
    everybody = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 50:
            everybody.set()
        await everybody.wait()
        await respond(send, scope["path"].encode())

    async with (
        serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server,
        httpx.AsyncClient(limits=httpx.Limits(max_connections=50)) as client,
    ):
        urls = [f"{server.urls[0]}{number}" for number in range(50)]
        replies = await asyncio.gather(*(client.get(url) for url in urls))
    assert [reply.text for reply in replies] == [f"/{number}" for number in range(50)]


async def test_requests_that_were_sent_ahead_are_answered_in_order() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["path"] == "/1":
            await turns()
        await respond(send, scope["path"].encode())

    async with serving(vespiary.ASGI(app), HTTP) as server, connected(server) as client:
        for number in range(4):
            client.send(f"GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert [(await client.reply()).body for _ in range(4)] == [b"/0", b"/1", b"/2", b"/3"]


@virtual_time
async def test_an_application_may_take_longer_than_a_handshake() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await asyncio.sleep(600)
        await respond(send, b"late")

    async with serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server:
        url = server.urls[0].replace("http", "tcp", 1).rstrip("/")
        connection = await vespiary.connect(url)
        connection.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await connection.receive()).endswith(b"late")
        connection.abort()


variable = contextvars.ContextVar("variable", default="unset")


async def test_requests_of_a_connection_do_not_share_context_variables() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        before = variable.get()
        variable.set("set")
        await respond(send, before.encode())

    async with serving(vespiary.ASGI(app), HTTP) as server, connected(server) as client:
        for _ in range(3):
            assert (await client.ask("GET", "/")).body == b"unset"


async def test_each_request_is_logged_where_that_is_wanted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "vespiary.access")
    app = Scopes()
    async with (
        serving(vespiary.ASGI(app, access_log=True), HTTP) as server,
        connected(server) as client,
    ):
        await client.ask("GET", "/a?b=1")
        host, port = client.writer.get_extra_info("sockname")
    lines = [
        record.getMessage()
        for record in records(caplog, logging.INFO)
        if record.name == "vespiary.access"
    ]
    assert lines == [f'{host}:{port} - "GET /a?b=1 HTTP/1.1" 200']


async def test_what_an_application_changes_in_its_scope_is_not_in_the_next_one() -> None:
    seen: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        seen.append(dict(scope["extensions"]))
        scope["extensions"]["http.response.push"] = {}
        await respond(send)

    async with (
        serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server,
        connected(server) as client,
    ):
        await client.ask("GET", "/")
        await client.ask("GET", "/")
    assert seen[0] == seen[1]
    assert "http.response.push" not in seen[1]
