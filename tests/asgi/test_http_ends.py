"""How ASGI's HTTP requests end early: clients that disconnect, and servers that stop."""

import asyncio
import contextlib
import logging
from typing import Any

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
    still_waits,
    until,
)


async def test_a_disconnect_is_received_behind_the_body() -> None:
    received: list[str] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        received.append((await receive())["type"])
        received.append((await receive())["type"])
        received.append((await receive())["type"])

    async with serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server:
        async with connected(server) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(lambda: received == ["http.request"])
        await until(lambda: received == ["http.request", *["http.disconnect"] * 2])


async def test_a_disconnect_within_the_body_is_received() -> None:
    received: list[str] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        while True:
            received.append((await receive())["type"])
            if received[-1] == "http.disconnect":
                return

    async with serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server:
        async with connected(server) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
            await until(lambda: received)
        await until(lambda: received[-1] == "http.disconnect")


async def test_a_disconnect_is_received_once_the_response_is_complete() -> None:
    received: list[str] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await respond(send)
        received.append((await waiting)["type"])
        received.append((await receive())["type"])

    assert (await ask(app)).status == 200
    assert received == ["http.disconnect"] * 2


async def test_sending_to_a_client_that_has_gone_is_an_os_error_and_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    raised: list[BaseException] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        while (await receive())["type"] != "http.disconnect":
            pass
        try:
            while True:
                await send({"type": "http.response.start", "status": 200})
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
                while True:
                    await send({"type": "http.response.body", "body": b"x", "more_body": True})
                    await asyncio.sleep(0)
        except BaseException as error:
            raised.append(error)
            raise

    async with serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server:
        async with connected(server) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await asyncio.sleep(0)
        await until(lambda: raised)
    assert isinstance(raised[0], OSError)
    assert not records(caplog, logging.ERROR)


async def test_a_stop_waits_for_a_request_under_way() -> None:
    go_on = asyncio.Event()
    asked = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        asked.set()
        await go_on.wait()
        await respond(send, b"finished")

    server = vespiary.Server()
    server.add(vespiary.ASGI(app, lifespan="off"), HTTP)
    await server.start()
    async with connected(server) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await asked.wait()
        stopping = asyncio.create_task(server.stop())
        assert await still_waits(stopping)
        go_on.set()
        reply = await client.reply()
        assert reply.body == b"finished"
        assert reply.header(b"connection") == b"close"
        client.writer.close()
        await stopping


async def test_a_stop_cancels_a_request_that_takes_longer_than_the_drain() -> None:
    ended: list[str] = []
    asked = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    server = vespiary.Server()
    server.add(vespiary.ASGI(app, lifespan="off"), HTTP)
    await server.start()
    async with connected(server) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await asked.wait()
        await server.stop(0.2)
    assert ended == ["ended"]


@pytest.mark.parametrize("has_begun", [False, True])
async def test_an_application_may_return_once_it_knows_that_the_client_has_finished(
    has_begun: bool, caplog: pytest.LogCaptureFixture
) -> None:
    received: list[str] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        if has_begun:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        received.append((await receive())["type"])

    async with serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server:
        async with connected(server) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            client.writer.write_eof()
            await until(lambda: received == ["http.disconnect"])
            # It ends, so that the client does not wait for a whole response.
            with contextlib.suppress(ConnectionError):
                await client.reader.read()
        await until(lambda: server.statistics().total.connections_open == 0)
        assert server.statistics().total.handler_errors == 0
    assert records(caplog, logging.ERROR) == []


async def test_a_call_that_is_cancelled_by_the_application_is_answered_with_500() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    reply = await ask(app)
    assert reply.status == 500
