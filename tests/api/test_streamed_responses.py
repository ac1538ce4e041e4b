"""Responses whose bodies are iterators: sent as they are made, and as the client takes them."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

import vespiary
from tests.logs import records

from .kit import reset, serving, streams, turns, until, virtual_time

HTTP = "http://127.0.0.1:0"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
PIECES = [b"honey", b"", b"comb", b"x" * 100_000]


class Body:
    """A body that remembers whether it was closed."""

    def __init__(self, pieces: list[Any], *, waits: bool = False) -> None:
        self.pieces = pieces
        self.waits = waits
        self.given = 0
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            for piece in self.pieces:
                self.given += 1
                yield piece
            if self.waits:
                await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.is_closed = True


def plain(pieces: list[bytes]) -> Iterator[bytes]:
    yield from pieces


def answering(
    make: Any, headers: Any = (), status: int = 200, *, later: bool = False
) -> type[vespiary.Handler]:
    """A handler that answers with what `make` makes."""

    class Plain(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            return request.respond(status, make(), headers)

    class Later(vespiary.Handler):
        async def on_request(self, request: vespiary.Request) -> vespiary.Response:
            await asyncio.sleep(0)
            return request.respond(status, make(), headers)

    return Later if later else Plain


@asynccontextmanager
async def asking(server: vespiary.Server, request: bytes) -> AsyncIterator[vespiary.Connection]:
    """A client that has sent a request, in the simulation too."""
    url = server.urls[0].replace("http://", "tcp://").rstrip("/")
    async with vespiary.connect(url) as client:
        client.send(request)
        yield client


async def received(client: vespiary.Connection, mark: bytes) -> bytes:
    """What comes, up to a mark."""
    data = b""
    while mark not in data:
        data += await client.receive()
    return data


FORMS = {
    "async generator": lambda: aiter(Body(PIECES)),
    "async iterable": lambda: Body(PIECES),
    "generator": lambda: plain(PIECES),
    "list": lambda: PIECES,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("how", ["plain", "async", "threads"])
@pytest.mark.parametrize("headers", [(), [("Content-Length", str(len(b"".join(PIECES))))]])
async def test_a_body_in_pieces_comes_whole(form: str, how: str, headers: Any) -> None:
    handler = answering(FORMS[form], headers, later=how == "async")
    options: dict[str, Any] = {"executor": "threads"} if how == "threads" else {}
    async with (
        serving(handler, HTTP, **options) as server,
        httpx.AsyncClient() as client,
    ):
        for _ in range(3):
            answer = await client.get(server.urls[0])
            assert answer.content == b"".join(PIECES)
            assert ("transfer-encoding" in answer.headers) is not headers
            assert ("content-length" in answer.headers) is bool(headers)
        assert server.statistics().total.connections_accepted == 1
        assert server.statistics().total.requests_answered == {"200": 3}


@pytest.mark.parametrize("status", [200, 204, 304])
async def test_a_response_without_a_body_closes_the_iterator_unused(status: int) -> None:
    made: list[Body] = []

    def make() -> Body:
        made.append(Body(PIECES))
        return made[-1]

    async with (
        serving(answering(make, status=status), HTTP) as server,
        httpx.AsyncClient() as client,
    ):
        for method in ["HEAD", "HEAD"] if status == 200 else ["GET", "GET"]:
            answer = await client.request(method, server.urls[0])
            assert (answer.status_code, answer.content) == (status, b"")
        assert [body.given for body in made] == [0, 0]
        assert server.statistics().total.connections_accepted == 1


async def test_a_client_of_http_1_0_gets_the_body_to_the_end_of_the_connection() -> None:
    async with serving(answering(lambda: Body(PIECES)), HTTP) as server, streams(server) as ends:
        reader, writer = ends
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert b"Transfer-Encoding" not in head
        assert body == b"".join(PIECES)


@pytest.mark.parametrize("how", ["async", "plain", "threads"])
async def test_the_next_piece_is_asked_for_when_the_client_has_taken_enough(how: str) -> None:
    body = Body([b"x" * 10_000] * 3000)

    def counted() -> Iterator[bytes]:
        for piece in body.pieces:
            body.given += 1
            yield piece

    make = (lambda: body) if how == "async" else counted
    options: dict[str, Any] = {"executor": "threads"} if how == "threads" else {}
    async with (
        serving(answering(make), HTTP, **options) as server,
        httpx.AsyncClient() as client,
        client.stream("GET", server.urls[0]) as answer,
    ):
        await until(lambda: body.given > 10)
        for _ in range(20):
            await turns()
        assert body.given < 2000
        received = [len(piece) async for piece in answer.aiter_bytes()]
        assert sum(received) == 30_000_000


@pytest.mark.parametrize("how", ["plain", "async"])
async def test_a_client_that_goes_away_closes_the_iterator(how: str) -> None:
    body = Body([b"honey"], waits=True)
    handler = answering(lambda: body, later=how == "async")
    async with serving(handler, HTTP) as server:
        async with streams(server) as (reader, writer):
            writer.write(GET)
            await reader.readuntil(b"honey")
            assert not body.is_closed
            reset(writer)
        await until(lambda: body.is_closed)
        await until(lambda: server.statistics().total.handshakes_pending == 0)
        assert server.statistics().total.handler_errors == 0


async def test_a_client_that_closes_is_noticed_when_more_is_sent() -> None:
    body = Body([b"honey"] * 1_000_000)
    async with serving(answering(lambda: body), HTTP) as server:
        async with streams(server) as (reader, writer):
            writer.write(GET)
            await reader.readuntil(b"honey")
        await until(lambda: body.is_closed)
        assert body.given < 1_000_000
        assert server.statistics().total.handler_errors == 0


@pytest.mark.parametrize("how", ["plain", "async"])
async def test_an_iterator_that_raises_is_logged_and_the_client_sees_a_cut_body(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"honey"
        await asyncio.sleep(0)
        raise RuntimeError("out of honey")

    handler = answering(failing, later=how == "async")
    async with serving(handler, HTTP) as server, httpx.AsyncClient() as client:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await client.get(server.urls[0])
        assert server.statistics().total.handler_errors == 1
    (error,) = records(caplog, logging.ERROR)
    assert "out of honey" in str(error.exc_info)


WRONG: list[tuple[Any, Any, str]] = [
    ([b"honey"], [("Content-Length", "4")], "longer"),
    ([b"honey"], [("Content-Length", "6")], "1 bytes shorter"),
    (["honey"], (), "bytes"),
    ([b"honey", 5], (), "int"),
]


@pytest.mark.parametrize(("pieces", "headers", "text"), WRONG)
async def test_a_body_that_cannot_be_sent_ends_the_connection(
    pieces: list[Any], headers: Any, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = Body(pieces)
    async with (
        serving(answering(lambda: body, headers), HTTP) as server,
        httpx.AsyncClient() as client,
    ):
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await client.get(server.urls[0])
        await until(lambda: body.is_closed)
    (error,) = records(caplog, logging.ERROR)
    assert text in str(error.exc_info)


@pytest.mark.parametrize("headers", [[("Na me", "x")], [("Transfer-Encoding", "chunked")]])
async def test_a_head_that_cannot_be_sent_is_answered_500(
    headers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        serving(answering(lambda: Body(PIECES), headers), HTTP) as server,
        httpx.AsyncClient() as client,
    ):
        assert (await client.get(server.urls[0])).status_code == 500
    assert len(records(caplog, logging.ERROR)) == 1


@pytest.mark.parametrize("body", ["text", bytearray(b"x"), {"a": b"b"}, 5])
def test_what_is_neither_bytes_nor_pieces_is_an_error(body: Any) -> None:
    with pytest.raises(TypeError, match="the body of a Response is bytes"):
        vespiary.Response(200, (), body)


async def test_requests_sent_ahead_are_answered_in_their_order() -> None:
    class Numbered(vespiary.Handler):
        async def on_request(self, request: vespiary.Request) -> vespiary.Response:
            name = request.path.encode()

            async def pieces() -> AsyncIterator[bytes]:
                for _ in range(3):
                    await asyncio.sleep(0)
                    yield name

            length = [("Content-Length", str(3 * len(name)))]
            return request.respond(200, pieces() if len(name) % 2 else name * 3, length)

    async with serving(Numbered, HTTP) as server, streams(server) as (reader, writer):
        names = [b"/" + b"a" * number for number in range(20)]
        writer.write(b"".join(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % name for name in names))
        for name in names:
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(3 * len(name)) == name * 3


@pytest.mark.parametrize("how", ["plain", "async"])
async def test_a_response_under_way_is_completed_at_a_stop(how: str) -> None:
    goes_on = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"honey"
        await goes_on.wait()
        yield b"comb"

    handler = answering(pieces, later=how == "async")
    async with serving(handler, HTTP) as server, streams(server) as (reader, writer):
        writer.write(GET)
        await reader.readuntil(b"honey")
        stopping = asyncio.ensure_future(server.stop())
        await turns()
        goes_on.set()
        assert (await reader.read()).endswith(b"4\r\ncomb\r\n0\r\n\r\n")
        await stopping


@virtual_time
async def test_a_response_that_outlasts_the_drain_is_cut(driver: str) -> None:
    body = Body([b"honey"], waits=True)
    async with serving(answering(lambda: body), HTTP) as server, asking(server, GET) as client:
        assert b"honey" in await received(client, b"honey")
        await server.stop(drain_seconds=2)
        assert body.is_closed
        reason = await client.wait_closed()
        assert reason.kind == "broken"


async def test_a_connection_with_a_response_under_way_is_not_in_its_handshake() -> None:
    body = Body([b"honey"], waits=True)
    shown: list[str] = []

    class Shown(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            connection = request.connection
            asyncio.get_running_loop().call_later(0, lambda: shown.append(repr(connection)))
            return request.respond(200, body)

    async with serving(Shown, HTTP) as server, streams(server) as (reader, writer):
        writer.write(GET)
        await reader.readuntil(b"honey")
        await until(lambda: bool(shown))
        assert "responding" in shown[0]
        assert server.statistics().total.handshakes_pending == 0
        reset(writer)


@virtual_time
async def test_a_response_may_take_longer_than_the_handshake(driver: str) -> None:
    body = Body([b"honey"], waits=True)
    async with serving(answering(lambda: body), HTTP) as server, asking(server, GET) as client:
        await received(client, b"honey")
        await asyncio.sleep(100)
        assert client.is_open
        assert not body.is_closed


async def test_nothing_of_a_response_is_left_behind() -> None:
    bodies: list[Body] = []

    def make() -> Body:
        bodies.append(Body([b"honey"]))
        return bodies[-1]

    async with (
        serving(answering(make), HTTP) as server,
        httpx.AsyncClient() as client,
    ):
        for _ in range(5):
            await client.get(server.urls[0])
    await until(lambda: all(body.is_closed for body in bodies))
    gc.collect()
    left = [one for one in gc.get_objects() if type(one).__name__ == "Exchange"]
    assert left == []
