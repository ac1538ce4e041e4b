"""Bodies of requests that a handler reads as they come: `stream_requests`, `chunks` and `read`."""

import asyncio
import functools
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

import vespiary

from .kit import reset, serving, streams, turns, until, virtual_time

HTTP = "http://127.0.0.1:0"
POST = b"POST /a HTTP/1.1\r\nHost: a\r\n"
BODIES = [b"", b"honey", bytes(range(256)) * 1000]


class Counting(vespiary.Handler):
    """Answers with how many bytes came."""

    stream_requests = True

    def __init__(self) -> None:
        self.received = 0
        self.errors: list[Exception] = []
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.asked = 0

    def has_received(self, count: int) -> bool:
        return self.received == count

    async def on_request(self, request: vespiary.Request) -> vespiary.Response:
        self.asked += 1
        await self.goes_on.wait()
        try:
            async for piece in request.chunks():
                assert piece
                self.received += len(piece)
                await self.goes_on.wait()
        except vespiary.ConnectionClosed as error:
            self.errors.append(error)
            raise
        return request.respond(200, str(self.received))


class Reading(vespiary.Handler):
    stream_requests = True

    async def on_request(self, request: vespiary.Request) -> vespiary.Response:
        assert request.body == b""
        return request.respond(200, await request.read())


class EchoingBody(vespiary.Handler):
    """Sends each piece back as it comes."""

    stream_requests = True

    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        return request.respond(200, request.chunks())


class Whole(vespiary.Handler):
    """Reads in the same way what was received whole."""

    async def on_request(self, request: vespiary.Request) -> vespiary.Response:
        return request.respond(200, await request.read())


async def in_chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 1000):
        yield body[start : start + 1000]


@pytest.mark.parametrize("handler", [Reading, EchoingBody, Whole])
@pytest.mark.parametrize("url", [HTTP, "ws://127.0.0.1:0"])
async def test_a_handler_reads_the_body(handler: type[vespiary.Handler], url: str) -> None:
    async with serving(handler, url) as server, httpx.AsyncClient() as client:
        target = server.urls[0].replace("ws://", "http://")
        for body in BODIES:
            assert (await client.post(target, content=body)).content == body
            assert (await client.put(target, content=in_chunks(body))).content == body
        assert (await client.get(target)).content == b""
    assert server.statistics().total.connections_accepted == 1


async def test_the_handler_is_called_before_the_body_has_come() -> None:
    handler = Counting()
    async with serving(handler, HTTP) as server, streams(server) as (reader, writer):
        writer.write(POST + b"Content-Length: 9\r\n\r\n")
        await until(lambda: handler.asked == 1)
        received = 0
        for piece in (b"ho", b"ney", b"comb"):
            writer.write(piece)
            received += len(piece)
            await until(functools.partial(handler.has_received, received))
        assert (await reader.readuntil(b"9")).startswith(b"HTTP/1.1 200 ")


async def test_a_handler_that_does_not_read_holds_the_client_back() -> None:
    handler = Counting()
    handler.goes_on.clear()
    limits = vespiary.Limits(body_bytes_max=None)
    async with serving(handler, HTTP, limits=limits) as server, httpx.AsyncClient() as client:
        body = b"x" * 30_000_000
        sending = asyncio.ensure_future(client.post(server.urls[0], content=body))
        await until(lambda: server.statistics().total.bytes_received > 10_000)
        for _ in range(20):
            await turns()
        assert server.statistics().total.bytes_received < 2_000_000
        handler.goes_on.set()
        assert (await sending).text == str(len(body))


async def test_a_client_that_waits_for_100_gets_it_when_the_handler_reads() -> None:
    handler = Counting()
    handler.goes_on.clear()
    async with serving(handler, HTTP) as server, streams(server) as (reader, writer):
        writer.write(POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        await until(lambda: handler.asked == 1)
        handler.goes_on.set()
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"honey")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


class Refusing(vespiary.Handler):
    stream_requests = True

    async def on_request(self, request: vespiary.Request) -> vespiary.Response:
        await asyncio.sleep(0)
        return request.respond(403, "no")


async def test_a_body_that_is_refused_unread_is_not_awaited() -> None:
    async with serving(Refusing, HTTP) as server:
        async with streams(server) as (reader, writer):
            writer.write(POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 403 ")
            assert b"\r\nConnection: close\r\n" in answer
        async with httpx.AsyncClient() as client:
            # A short one is read and dropped, and the connection is kept.
            for _ in range(3):
                assert (await client.post(server.urls[0], content=b"honey")).text == "no"
        assert server.statistics().total.connections_accepted == 2
        async with streams(server) as (reader, writer):
            writer.write(POST + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1000)
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("way", ["finish", "reset"])
async def test_a_client_that_goes_away_within_the_body_is_an_exception(way: str) -> None:
    handler = Counting()
    async with serving(handler, HTTP) as server:
        async with streams(server) as (_, writer):
            writer.write(POST + b"Content-Length: 6\r\n\r\nhoney")
            await until(lambda: handler.received == 5)
            if way == "finish":
                writer.write_eof()
                await until(lambda: bool(handler.errors))
            else:
                reset(writer)
        await until(lambda: bool(handler.errors))
        assert isinstance(handler.errors[0], vespiary.ConnectionBroken)
        await until(lambda: server.statistics().total.handshakes_pending == 0)
        # The handler has not failed.
        assert server.statistics().total.handler_errors == 0


@pytest.mark.parametrize(
    ("body", "status"), [(b"b\r\nhoneycombs!\r\n", 413), (b"5\nhoney", 400), (b"x", 400)]
)
async def test_a_body_that_is_refused_is_an_exception_too(body: bytes, status: int) -> None:
    handler = Counting()
    limits = vespiary.Limits(body_bytes_max=10)
    async with serving(handler, HTTP, limits=limits) as server, streams(server) as ends:
        reader, writer = ends
        writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        await until(lambda: handler.asked == 1)
        writer.write(body)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        await until(lambda: bool(handler.errors))


@virtual_time
async def test_a_body_that_trickles_is_answered_408(driver: str) -> None:
    handler = Counting()
    async with serving(handler, HTTP) as server:
        url = server.urls[0].replace("http://", "tcp://").rstrip("/")
        async with vespiary.connect(url) as client:
            client.send(POST + b"Content-Length: 1000000\r\n\r\n")
            for _ in range(9):
                client.send(b"x")
                await asyncio.sleep(1)
            answer = await client.receive()
            assert answer.startswith(b"HTTP/1.1 408 ")
        await until(lambda: len(handler.errors) == 1)


async def test_what_needs_the_whole_body_says_what_to_use() -> None:
    class Wrong(vespiary.Handler):
        stream_requests = True

        async def on_request(self, request: vespiary.Request) -> vespiary.Response:
            texts = []
            for read in (request.json, lambda: request.form):
                with pytest.raises(RuntimeError) as caught:
                    read()
                texts.append(str(caught.value))
            return request.respond(200, "\n".join(texts))

    async with serving(Wrong, HTTP) as server, httpx.AsyncClient() as client:
        answer = await client.post(server.urls[0], content=b"{}")
        assert answer.text.count("await request.read()") == 2


def test_a_plain_method_on_threads_cannot_read_pieces() -> None:
    class Threaded(vespiary.Handler):
        stream_requests = True

        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            return request.respond(200)

    with pytest.raises(vespiary.ConfigurationError, match="make on_request async"):
        vespiary.Server().add(Threaded, HTTP, executor="threads")


@pytest.mark.parametrize("value", [1, "yes", None])
def test_a_wrong_value_of_stream_requests_is_an_error(value: Any) -> None:
    class Wrong(Reading):
        stream_requests = value

    with pytest.raises(vespiary.ConfigurationError, match="stream_requests is True or False"):
        vespiary.Server().add(Wrong, HTTP)


async def test_a_stop_waits_for_a_body_that_comes() -> None:
    handler = Counting()
    async with serving(handler, HTTP) as server, streams(server) as (reader, writer):
        writer.write(POST + b"Content-Length: 9\r\n\r\nhoney")
        await until(lambda: handler.received == 5)
        stopping = asyncio.ensure_future(server.stop())
        await turns()
        writer.write(b"comb")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nConnection: close\r\n" in answer
        writer.close()
        await stopping


async def test_a_body_can_be_read_while_the_response_is_sent() -> None:
    """A handler that reads in one task and sends in another."""

    class Duplex(vespiary.Handler):
        stream_requests = True

        async def on_request(self, request: vespiary.Request) -> vespiary.Response:
            queue: asyncio.Queue[bytes | None] = asyncio.Queue()

            async def read() -> None:
                async for piece in request.chunks():
                    queue.put_nowait(piece.upper())
                queue.put_nowait(None)

            reading = asyncio.ensure_future(read())

            async def pieces() -> AsyncIterator[bytes]:
                while (piece := await queue.get()) is not None:
                    yield piece
                await reading

            return request.respond(200, pieces())

    async with serving(Duplex, HTTP) as server, streams(server) as (reader, writer):
        writer.write(POST + b"Content-Length: 9\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        for piece in (b"honey", b"comb"):
            writer.write(piece)
            assert (await reader.readuntil(piece.upper())).endswith(piece.upper())
        assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"0\r\n\r\n")
