"""WSGI applications (PEP 3333), on threads."""

import asyncio
import io
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import h11
import httpx
import pytest

import vespiary
from tests.logs import records

from .kit import HTTP, Reply, connected, serving, until

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], None]]


def hello(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello ", environ["PATH_INFO"].encode("latin-1")]


async def asked(app: Any, request: bytes, method: str = "GET", **options: Any) -> Reply:
    async with (
        serving(vespiary.WSGI(app, **options), HTTP) as server,
        connected(server) as client,
    ):
        client.send(request)
        return await client.reply(method)


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_an_application_answers() -> None:
    reply = await asked(hello, b"GET /bees HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (reply.status, reply.body) == (200, b"hello /bees")
    assert reply.header(b"content-type") == b"text/plain"
    assert reply.header(b"content-length") == b"11"


async def test_the_length_of_an_answer_without_a_body_is_left_out() -> None:
    """Django adds it (CommonMiddleware); RFC 9110 section 8.6 forbids a server to send it."""

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("204 No Content", [("Content-Length", "0"), ("X-Bee", "1")])
        return [b""]

    reply = await asked(app, GET)
    assert (reply.status, reply.header(b"x-bee")) == (204, b"1")
    assert reply.header(b"content-length") is None


async def test_the_environ_says_everything_of_a_request() -> None:
    found: list[Environ] = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        found.append({**environ, "body": environ["wsgi.input"].read()})
        start_response("200 OK", [])
        return []

    async with (
        serving(vespiary.WSGI(app, root_path="/api"), HTTP) as server,
        connected(server) as client,
    ):
        client.send(
            b"POST /api/caf%C3%A9?x=%20 HTTP/1.1\r\nHost: example.com\r\n"
            b"X-Two: 1\r\nx-two: 2\r\n"
            b"Cookie: a=1\r\nCookie: b=2\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
            b"X_Two: forged\r\nProxy: http://evil\r\n\r\nabc"
        )
        assert (await client.reply("POST")).status == 200
        host, port = client.writer.get_extra_info("sockname")
        own_host, own_port = client.writer.get_extra_info("peername")
    (environ,) = found
    expected = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/api",
        "PATH_INFO": "/café".encode().decode("latin-1"),
        "QUERY_STRING": "x=%20",
        "REQUEST_URI": "/api/caf%C3%A9?x=%20",
        "RAW_URI": "/api/caf%C3%A9?x=%20",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "3",
        "SERVER_NAME": own_host,
        "SERVER_PORT": str(own_port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": host,
        "REMOTE_PORT": str(port),
        "HTTP_HOST": "example.com",
        "HTTP_X_TWO": "1,2",
        "HTTP_COOKIE": "a=1; b=2",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "body": b"abc",
    }
    assert {name: environ[name] for name in expected} == expected
    assert set(environ) - set(expected) == {"wsgi.input", "wsgi.file_wrapper"}


async def test_a_trusted_proxy_names_the_client_and_the_scheme() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [f"{environ['wsgi.url_scheme']} {environ['REMOTE_ADDR']}".encode()]

    options: dict[str, Any] = {"forwarded_from": ["127.0.0.1"]}
    async with serving(vespiary.WSGI(app), HTTP, **options) as server, connected(server) as client:
        forwarded = {"X_Forwarded_For": "192.0.2.7", "X_Forwarded_Proto": "https"}
        assert (await client.ask("GET", "/", None, **forwarded)).body == b"https 192.0.2.7"


async def test_the_standard_librarys_validator_is_content() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]

    environ_type: list[type] = []

    def plain(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ_type.append(type(environ))
        return validator(app)(environ, start_response)  # type: ignore[arg-type]

    reply = await asked(
        plain, b"POST /?a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", "POST"
    )
    assert (reply.status, reply.body) == (200, b"hello")
    assert environ_type == [dict]


class Pieces:
    """An iterable that is closed."""

    def __init__(self, pieces: Iterable[Any]) -> None:
        self.pieces = iter(pieces)
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        return self.pieces

    def close(self) -> None:
        self.closed += 1


def sending(pieces: Pieces, headers: list[tuple[str, str]]) -> Any:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", headers)
        return pieces

    return app


@pytest.mark.parametrize(
    "pieces", [[], [b""], [b"one"], [b"one", b"", b"two"], [b"x" * 1000] * 2000]
)
@pytest.mark.parametrize("has_length", [False, True])
async def test_every_piece_is_sent_and_the_iterable_is_closed(
    pieces: list[bytes], has_length: bool
) -> None:
    body = b"".join(pieces)
    made = Pieces(pieces)
    headers = [("Content-Length", str(len(body)))] if has_length else []
    assert (await asked(sending(made, headers), GET)).body == body
    assert made.closed == 1


async def test_pieces_are_sent_as_they_come() -> None:
    go_on = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield b"one"
        assert go_on.wait(60)
        yield b"two"

    app = sending(Pieces(pieces()), [])
    async with serving(vespiary.WSGI(app), HTTP) as server, connected(server) as client:
        client.send(GET)
        assert await client.reader.readuntil(b"3\r\none\r\n")
        go_on.set()
        assert await client.reader.readuntil(b"3\r\ntwo\r\n0\r\n\r\n")


async def test_write_sends_before_the_iterable() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        write(b"one ")
        write(b"two ")
        return [b"three"]

    assert (await asked(app, GET)).body == b"one two three"


async def test_a_head_request_gets_no_body() -> None:
    reply = await asked(hello, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD")
    assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize("size", [0, 1, 100_000, 1 << 20])
async def test_bodies_come_whole(size: int) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        stream = environ["wsgi.input"]
        return [stream.read(10), *iter(lambda: stream.read(7000), b"")]

    async with serving(vespiary.WSGI(app), HTTP) as server, httpx.AsyncClient() as client:
        assert (await client.post(server.urls[0], content=b"x" * size)).content == b"x" * size


async def test_a_file_wrapper_sends_a_file_and_closes_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 4000)
    files: list[io.BufferedReader] = []

    def app(environ: Environ, start_response: StartResponse) -> Any:
        start_response("200 OK", [])
        files.append(path.open("rb"))
        return environ["wsgi.file_wrapper"](files[-1], 4096)

    assert (await asked(app, GET)).body == path.read_bytes()
    assert files[0].closed


async def test_requests_run_on_several_threads_at_the_same_time() -> None:
    barrier = threading.Barrier(4, timeout=60)
    names: set[str] = set()

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        barrier.wait()
        names.add(threading.current_thread().name)
        start_response("200 OK", [])
        return []

    async with (
        serving(vespiary.WSGI(app, threads=4), HTTP) as server,
        connected(server) as a,
        connected(server) as b,
        connected(server) as c,
        connected(server) as d,
    ):
        for client in (a, b, c, d):
            client.send(GET)
        for client in (a, b, c, d):
            assert (await client.reply()).status == 200
    assert len(names) == 4


async def failure(app: Any, caplog: pytest.LogCaptureFixture) -> tuple[int | None, str]:
    """The status of a response, and the traceback that was logged."""
    try:
        status = (await asked(app, GET)).status
    except (h11.RemoteProtocolError, ConnectionError):
        status = None
    (record,) = records(caplog, logging.ERROR)
    return status, record.exc_text or str(record.exc_info)


async def test_an_exception_is_logged_and_answered_500(caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        raise ZeroDivisionError("planted")

    status, text = await failure(app, caplog)
    assert status == 500
    assert "ZeroDivisionError" in text


async def test_an_exception_within_the_body_ends_the_connection_and_closes_the_iterable(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"one"
        raise ZeroDivisionError("planted")

    made = Pieces(pieces())
    status, text = await failure(sending(made, []), caplog)
    assert status is None
    assert "ZeroDivisionError" in text
    assert made.closed == 1


async def test_exc_info_replaces_a_response_that_has_not_begun() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("X-First", "1")])
        try:
            raise ZeroDivisionError("planted")
        except ZeroDivisionError:
            start_response("503 Unavailable", [("X-Second", "2")], sys.exc_info())
        return [b"sorry"]

    reply = await asked(app, GET)
    assert (reply.status, reply.body) == (503, b"sorry")
    assert reply.header(b"x-first") is None
    assert reply.header(b"x-second") == b"2"


async def test_exc_info_is_raised_where_the_response_has_begun(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])(b"one")
        try:
            raise ZeroDivisionError("planted")
        except ZeroDivisionError:
            start_response("503 Unavailable", [], sys.exc_info())
        return [b"sorry"]

    status, text = await failure(app, caplog)
    assert status is None
    assert "ZeroDivisionError" in text


@pytest.mark.parametrize(
    ("status", "headers", "pieces", "match"),
    [
        (200, [], [b""], "the status of a WSGI response is a str such as '200 OK'; got 200"),
        ("OK", [], [b""], "got 'OK'"),
        ("99 Low", [], [b""], "from 200 to 599|status"),
        ("200 OK", ["a"], [b""], "are a list of pairs of str"),
        ("200 OK", [("a", b"b")], [b""], "are a list of pairs of str"),
        ("200 OK", [("a", "b\r\nc: d")], [b""], "control character"),
        ("200 OK", [("Content-Length", "3")], [b"hello"], ""),
        ("200 OK", [], ["text"], "bytes"),
        ("200 OK", [], lambda: iter(["text"]), "a WSGI application sends bytes; got 'text'"),
    ],
)
async def test_mistakes_are_clear_errors(
    status: Any, headers: Any, pieces: Any, match: str, caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Any:
        start_response(status, headers)
        return pieces() if callable(pieces) else pieces

    found, text = await failure(app, caplog)
    assert found in (500, None)
    assert any(part in text for part in match.split("|")) or match in caplog.text


async def test_a_body_without_start_response_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    status, text = await failure(lambda environ, start_response: [b"hello"], caplog)
    assert status == 500
    assert "did not call start_response" in text


async def test_a_second_start_response_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        start_response("200 OK", [])
        return []

    status, text = await failure(app, caplog)
    assert status == 500
    assert "start_response was called before" in text


async def test_a_client_that_goes_ends_the_iteration_quietly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def pieces() -> Iterator[bytes]:
        while True:
            yield b"x" * 10_000

    made = Pieces(pieces())
    async with serving(vespiary.WSGI(sending(made, [])), HTTP) as server:
        async with connected(server) as client:
            client.send(GET)
            await client.reader.readexactly(1000)
        await until(lambda: made.closed)
    assert not records(caplog, logging.ERROR)


async def test_a_piece_waits_for_a_client_that_does_not_read() -> None:
    pieces = Pieces([b"x" * 100_000] * 300)
    async with (
        serving(vespiary.WSGI(sending(pieces, [])), HTTP) as server,
        connected(server) as client,
    ):
        client.send(GET)
        assert len((await client.reply()).body) == 30_000_000


async def test_a_websocket_is_not_served_by_wsgi() -> None:
    async with serving(vespiary.WSGI(hello), HTTP) as server:
        with pytest.raises(vespiary.HandshakeRefused):
            await vespiary.connect(server.urls[0].replace("http", "ws", 1))


async def test_each_request_is_logged_where_that_is_wanted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "vespiary.access")
    async with (
        serving(vespiary.WSGI(hello, access_log=True), HTTP) as server,
        connected(server) as client,
    ):
        await client.ask("GET", "/a?b=1")
    lines = [
        record.getMessage()
        for record in records(caplog, logging.INFO)
        if record.name == "vespiary.access"
    ]
    assert len(lines) == 1
    assert lines[0].endswith('"GET /a?b=1 HTTP/1.1" 200')


async def test_a_stop_waits_for_a_call_under_way() -> None:
    go_on = threading.Event()
    asked_for = threading.Event()

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        asked_for.set()
        assert go_on.wait(60)
        start_response("200 OK", [])
        return [b"finished"]

    server = vespiary.Server()
    server.add(vespiary.WSGI(app), HTTP)
    await server.start()
    async with connected(server) as client:
        client.send(GET)
        await until(asked_for.is_set)
        stopping = asyncio.create_task(server.stop())
        go_on.set()
        assert (await client.reply()).body == b"finished"
        client.writer.close()
        await stopping
