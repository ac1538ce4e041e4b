"""The interface of hosts of applications: one exchange per request (`Hooks.exchange`)."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

import vespiary
from tests.logs import records
from vespiary._core import Exchange

from .kit import reset, serving, streams, turns, until

HTTP = "http://127.0.0.1:0"
GET = b"GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a\r\n"


class Hosting(vespiary.Handler):
    """Gives each exchange to a function."""

    def __init__(self, answer: Callable[[Exchange], object]) -> None:
        self.answer = answer
        self.exchanges: list[Exchange] = []
        self.woken = 0

    def _on_exchange(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        exchange.set_waker(self.wake)
        self.answer(exchange)

    def wake(self) -> None:
        self.woken += 1


def hello(exchange: Exchange) -> None:
    exchange.respond(200, [(b"content-type", b"text/plain")], b"hello")


async def test_the_head_is_there_and_a_whole_response_is_sent() -> None:
    heads: list[Any] = []

    def answer(exchange: Exchange) -> None:
        heads.append((exchange.method, exchange.target, exchange.authority))
        heads.append((exchange.minor_version, exchange.headers, exchange.has_body))
        heads.append(exchange.receive())
        hello(exchange)

    handler = Hosting(answer)
    async with serving(handler, HTTP) as server, streams(server) as (reader, writer):
        for _ in range(3):
            writer.write(b"GET /a?b HTTP/1.1\r\nHost: a\r\nX-Name: \xe4\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"\r\ncontent-type: text/plain\r\n" in head
            assert b"\r\nContent-Length: 5\r\n" in head
            assert await reader.readexactly(5) == b"hello"
        exchange = handler.exchanges[0]
        assert exchange.is_over
        assert not exchange.is_disconnected
        with pytest.raises(RuntimeError, match="complete"):
            exchange.receive()
        with pytest.raises(RuntimeError, match="complete"):
            exchange.write(b"x")
    assert heads[:3] == [
        ("GET", "/a?b", "a"),
        (1, [(b"host", b"a"), (b"x-name", b"\xe4")], False),
        b"",
    ]


async def test_a_body_is_received_and_sent_from_a_task() -> None:
    tasks: list[asyncio.Task[None]] = []

    async def run(exchange: Exchange) -> None:
        exchange.start(200, [(b"x", b"y")])
        while (piece := exchange.receive()) != b"":
            if piece is None:
                await exchange.changed()
            elif not exchange.write(piece):
                while not exchange.is_writable:
                    await exchange.changed()
        exchange.end([("Digest", "abc")])

    handler = Hosting(lambda exchange: tasks.append(asyncio.ensure_future(run(exchange))))
    body = bytes(range(256)) * 10_000
    limits = vespiary.Limits(body_bytes_max=None)
    async with serving(handler, HTTP, limits=limits) as server, httpx.AsyncClient() as client:
        assert (await client.post(server.urls[0], content=body[:100])).content == body[:100]
        assert (await client.post(server.urls[0], content=b"")).content == b""
    await asyncio.gather(*tasks)


async def test_an_early_hint_comes_before_the_response() -> None:
    def answer(exchange: Exchange) -> None:
        exchange.inform(103, [(b"link", b"</a.css>")])
        hello(exchange)

    async with serving(Hosting(answer), HTTP) as server, streams(server) as (reader, writer):
        writer.write(GET)
        hint = await reader.readuntil(b"\r\n\r\n")
        assert hint == b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n"
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")


WRONG: list[Callable[[Exchange], object]] = [
    lambda it: it.start(99, []),
    lambda it: it.start(600, []),
    lambda it: it.start(200, [(b"a b", b"c")]),
    lambda it: it.start(200, [(b"a", b"b\nc")]),
    lambda it: it.start(200, [(b"transfer-encoding", b"chunked")]),
    lambda it: it.respond(200, [(b"content-length", b"x")], b"hello"),
    lambda it: it.inform(200, []),
    lambda it: it.inform(103, [(b"a b", b"c")]),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
async def test_what_cannot_be_sent_is_an_error_and_another_response_can_be(number: int) -> None:
    errors: list[Exception] = []
    loop = asyncio.get_running_loop()

    def answer(exchange: Exchange) -> None:
        try:
            WRONG[number](exchange)
        except ValueError as error:
            errors.append(error)
        hello(exchange)

    handler = Hosting(lambda exchange: loop.call_soon(answer, exchange))
    async with serving(handler, HTTP) as server, httpx.AsyncClient() as client:
        assert (await client.get(server.urls[0])).text == "hello"
    assert len(errors) == 1


async def test_steps_out_of_turn_are_errors() -> None:
    texts: list[str] = []

    def refused(call: Callable[[], object]) -> None:
        with pytest.raises(RuntimeError) as caught:
            call()
        texts.append(str(caught.value))

    def answer(exchange: Exchange) -> None:
        refused(lambda: exchange.write(b"x"))
        refused(exchange.end)
        exchange.start(200, [])
        refused(lambda: exchange.start(200, []))
        refused(lambda: exchange.respond(200, [], b""))
        refused(lambda: exchange.inform(103, []))
        with pytest.raises(TypeError):
            exchange.write("text")  # type: ignore[arg-type]
        exchange.end()
        refused(exchange.end)
        assert exchange.is_writable

    async with serving(Hosting(answer), HTTP) as server, httpx.AsyncClient() as client:
        assert (await client.get(server.urls[0])).content == b""
    assert len(texts) == 6


@pytest.mark.parametrize("starts", [False, True])
async def test_a_host_that_raises_is_logged(starts: bool, caplog: pytest.LogCaptureFixture) -> None:
    def answer(exchange: Exchange) -> None:
        if starts:
            exchange.start(200, [])
        raise RuntimeError("the host failed")

    async with serving(Hosting(answer), HTTP) as server, httpx.AsyncClient() as client:
        if starts:
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                await client.get(server.urls[0])
        else:
            assert (await client.get(server.urls[0])).status_code == 500
        assert server.statistics().total.handler_errors == 1
    assert len(records(caplog, logging.ERROR)) == 1


@pytest.mark.parametrize("way", ["within the body", "before the response", "within the response"])
async def test_a_client_that_goes_away_is_reported(way: str) -> None:
    def answer(exchange: Exchange) -> None:
        if way == "within the response":
            exchange.start(200, [])

    handler = Hosting(answer)
    async with serving(handler, HTTP) as server:
        async with streams(server) as (reader, writer):
            within = way == "within the body"
            writer.write(POST + b"Content-Length: 6\r\n\r\nhoney" if within else GET)
            await until(lambda: bool(handler.exchanges))
            (exchange,) = handler.exchanges
            assert not exchange.is_disconnected
            if way == "within the response":
                await reader.readuntil(b"\r\n\r\n")
            if within:
                await until(lambda: exchange.receive() == b"honey")
            reset(writer)
        await until(lambda: exchange.is_disconnected)
        assert handler.woken > 0
        # What is sent is dropped.
        if way != "within the response":
            exchange.start(200, [])
        assert exchange.write(b"x")
        exchange.end()
        if within:
            with pytest.raises(vespiary.ConnectionClosed):
                exchange.receive()
        await exchange.changed()


async def test_a_client_that_has_finished_sending_is_reported_and_answered() -> None:
    handler = Hosting(lambda _: None)
    async with serving(handler, HTTP) as server, streams(server) as (reader, writer):
        writer.write(GET)
        writer.write_eof()
        await until(lambda: bool(handler.exchanges))
        (exchange,) = handler.exchanges
        await until(lambda: exchange.is_peer_finished)
        assert not exchange.is_disconnected
        hello(exchange)
        assert (await reader.read()).endswith(b"hello")


async def test_an_exchange_under_way_is_waited_for_at_a_stop() -> None:
    handler = Hosting(lambda _: None)
    async with serving(handler, HTTP) as server, streams(server) as (reader, writer):
        writer.write(GET)
        await until(lambda: bool(handler.exchanges))
        stopping = asyncio.ensure_future(server.stop())
        await turns()
        hello(handler.exchanges[0])
        answer = await reader.read()
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.endswith(b"hello")
        writer.close()
        await stopping


@pytest.mark.parametrize("starts", [False, True])
async def test_an_exchange_that_outlasts_the_drain_ends(starts: bool) -> None:
    handler = Hosting(lambda it: it.start(200, []) if starts else None)
    async with serving(handler, HTTP) as server, streams(server) as (reader, writer):
        writer.write(GET)
        await until(lambda: bool(handler.exchanges))
        await server.stop(drain_seconds=0.2)
        assert handler.exchanges[0].is_disconnected
        if starts:
            with pytest.raises(ConnectionResetError):
                await reader.read()
        else:
            assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
