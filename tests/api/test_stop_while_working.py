"""While a server stops and a handler still works, its peer is answered as usual; its messages are
dropped. A handler that waits for nothing but the end has no work: its connection is closed at once.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import vespiary
from vespiary.handler import AnyHandler

from .kit import TCP, WS, Recorder, forever, serving, turns, until

LONG = 30.0
"""Seconds of a drain that no test waits for, unless it fails."""


@pytest.fixture(autouse=True)
def _nothing_waits_for_the_drain(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    yield
    logged = [record.getMessage() for record in caplog.get_records("call")]
    is_cut = any("The time to finish is over" in line for line in logged)
    assert is_cut == ("every_handler" in request.node.name)


class Work:
    """Work of a handler that takes until it is released."""

    def __init__(self) -> None:
        self.begun, self.free = asyncio.Event(), asyncio.Event()
        self.received: list[object] = []
        self.reasons: list[vespiary.CloseReason] = []
        self.connection: vespiary.Connection | None = None

    async def do(self, connection: vespiary.Connection) -> None:
        self.connection = connection
        self.begun.set()
        await self.free.wait()

    @property
    def is_shutting_down(self) -> bool:
        return self.connection is not None and self.connection.is_shutting_down


Make = Callable[[Work], tuple[AnyHandler, dict[str, Any]]]


def in_on_message(work: Work) -> tuple[AnyHandler, dict[str, Any]]:
    class Works(vespiary.Handler):
        async def on_message(self, connection: vespiary.Connection, message: object) -> None:
            work.received.append(message)
            await work.do(connection)
            if connection.is_open:
                connection.send("answer")

        def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
            work.reasons.append(reason)

    return Works(), {}


def in_a_coroutine(work: Work) -> tuple[AnyHandler, dict[str, Any]]:
    async def handle(connection: vespiary.Connection) -> None:
        work.received.append(await connection.receive())
        await work.do(connection)
        async for message in connection:
            work.received.append(message)
        if connection.is_open:
            connection.send("answer")
        else:
            work.reasons.append(await connection.wait_closed())

    return handle, {}


def with_a_full_inbox(work: Work) -> tuple[AnyHandler, dict[str, Any]]:
    handler, options = in_a_coroutine(work)
    return handler, {**options, "limits": vespiary.Limits(inbox_messages_max=1)}


def while_paused(work: Work) -> tuple[AnyHandler, dict[str, Any]]:
    async def handle(connection: vespiary.Connection) -> None:
        work.received.append(await connection.receive())
        connection.pause_reading()
        await work.do(connection)
        if connection.is_open:
            connection.send("answer")
        else:
            work.reasons.append(await connection.wait_closed())

    return handle, {}


def on_a_thread(work: Work) -> tuple[AnyHandler, dict[str, Any]]:
    loop = asyncio.get_running_loop()
    is_free = threading.Event()

    async def release() -> None:
        await work.free.wait()
        is_free.set()

    releasing = loop.create_task(release())

    class Blocks(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: object) -> None:
            work.received.append(message)
            work.connection = connection
            loop.call_soon_threadsafe(work.begun.set)
            is_free.wait(60)
            if connection.is_open:
                connection.send("answer")

        def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
            work.reasons.append(reason)
            assert releasing.done()

    return Blocks(), {"executor": "threads"}


workers = pytest.mark.parametrize(
    "make", [in_on_message, in_a_coroutine, with_a_full_inbox, while_paused, on_a_thread]
)


async def begin(
    work: Work, server: vespiary.Server
) -> tuple[vespiary.Connection, asyncio.Future[None]]:
    """A client for which a handler works, and a stop that has reached its connection."""
    client = await vespiary.connect(server.urls[0])
    client.send("work")
    await work.begun.wait()
    stopping = asyncio.ensure_future(server.stop(LONG))
    while not server._life or server._life.shutdown is None:  # noqa: ASYNC110 - Each turn.
        await asyncio.sleep(0)
    await turns()
    return client, stopping


@workers
async def test_pings_are_answered_and_messages_dropped_while_a_handler_works(make: Make) -> None:
    work = Work()
    handler, options = make(work)
    async with serving(handler, **options) as server:
        client, stopping = await begin(work, server)
        await client.ping()
        for _ in range(100):
            client.send("x" * 100_000)
        await client.ping()
        work.free.set()
        assert await client.receive() == "answer"
        assert (await client.wait_closed()).code == 1001
        await stopping
    assert work.received == ["work"]


@workers
async def test_the_close_of_a_client_is_answered_while_a_handler_works(make: Make) -> None:
    work = Work()
    handler, options = make(work)
    async with serving(handler, **options) as server:
        client, stopping = await begin(work, server)
        client.send("too late")
        reason = await client.close(1000, "enough")
        assert (reason.kind, reason.code) == ("closed", 1000)
        assert not stopping.done()
        work.free.set()
        await stopping
    assert work.received == ["work"]
    assert [(reason.side, reason.code) for reason in work.reasons] == [("remote", 1000)]


async def test_a_handler_gets_the_pong_of_its_own_ping_during_the_stop() -> None:
    work = Work()

    async def handle(connection: vespiary.Connection) -> None:
        await work.do(connection)
        await connection.ping()
        work.received.append("pong")

    async with serving(handle) as server:
        _, stopping = await begin(work, server)
        work.free.set()
        await stopping
    assert work.received == ["pong"]


async def test_the_end_of_a_stream_is_noticed_behind_dropped_bytes_during_the_stop() -> None:
    work = Work()
    is_cut: list[bool] = []

    async def handle(connection: vespiary.Connection) -> None:
        async for message in connection:
            work.received.append(message)
        await work.do(connection)
        work.reasons.append(await connection.wait_closed())
        is_cut.append(connection.is_shutting_down)

    async with serving(handle, TCP, framing="line") as server:
        client = await vespiary.connect(server.urls[0], framing="line")
        await until(lambda: server.statistics().total.connections_open)
        stopping = asyncio.ensure_future(server.stop(LONG))
        await work.begun.wait()
        for _ in range(100):
            client.send(b"x" * 10_000)
        client.send_end()
        work.free.set()
        await stopping
        assert (await client.wait_closed()).kind == "closed"
    assert not work.received
    assert [reason.kind for reason in work.reasons] == ["closed"]
    assert is_cut == [True]


# What waits for nothing but the end.


async def only_waits(connection: vespiary.Connection) -> None:
    await connection.wait_closed()


async def waits_within_a_timeout(connection: vespiary.Connection) -> None:
    async with asyncio.timeout(LONG):
        await connection.wait_closed()


async def waits_after_its_messages(connection: vespiary.Connection) -> None:
    async for _ in connection:
        pass
    await connection.wait_closed()


class WaitsInOnOpen(vespiary.Handler):
    async def on_open(self, connection: vespiary.Connection) -> None:
        await connection.wait_closed()


class WaitsInOnMessage(vespiary.Handler):
    async def on_message(self, connection: vespiary.Connection, message: object) -> None:
        await connection.wait_closed()


class WaitsBeforeOnShutdown(WaitsInOnOpen):
    async def on_shutdown(self, connection: vespiary.Connection) -> None:
        await forever()


class WaitsBesideOnShutdown(WaitsInOnMessage):
    def on_shutdown(self, connection: vespiary.Connection) -> None: ...


@pytest.mark.parametrize("url", [WS, TCP])
@pytest.mark.parametrize(
    "handler",
    [
        only_waits,
        waits_within_a_timeout,
        waits_after_its_messages,
        WaitsInOnOpen,
        WaitsInOnMessage,
        WaitsBeforeOnShutdown,
        WaitsBesideOnShutdown,
    ],
)
async def test_a_handler_that_only_waits_for_the_end_gets_it_at_once(
    handler: AnyHandler, url: str
) -> None:
    async with serving(handler, url) as server:
        client = await vespiary.connect(server.urls[0])
        client.send(b"hello")
        await until(lambda: server.statistics().total.messages_received)
        await turns()
        await server.stop(LONG)
        assert (await client.wait_closed()).code == (1001 if url == WS else None)


@pytest.mark.parametrize("has_on_shutdown", [False, True])
async def test_a_handler_that_begins_to_wait_during_the_stop_gets_the_end_at_once(
    has_on_shutdown: bool,
) -> None:
    work = Work()

    class Plain(vespiary.Handler):
        async def on_open(self, connection: vespiary.Connection) -> None:
            await work.do(connection)
            connection.send("last words")
            work.reasons.append(await connection.wait_closed())

    class Shuts(Plain):
        async def on_shutdown(self, connection: vespiary.Connection) -> None:
            work.received.append("shutdown")

    async with serving(Shuts if has_on_shutdown else Plain) as server:
        client, stopping = await begin(work, server)
        work.free.set()
        await stopping
        assert await client.receive() == "last words"
        assert (await client.wait_closed()).code == 1001
    assert [reason.code for reason in work.reasons] == [1001]


async def test_an_on_shutdown_may_wait_for_the_client_to_close() -> None:
    begun = asyncio.Event()

    class Waits(Recorder):
        async def on_shutdown(self, connection: vespiary.Connection) -> None:
            begun.set()
            await connection.wait_closed()

    handler = Waits()
    async with serving(handler) as server:
        client = await vespiary.connect(server.urls[0])
        await client.ping()
        stopping = asyncio.ensure_future(server.stop(LONG))
        await begun.wait()
        await turns()
        assert client.is_open
        await client.close(4000)
        await stopping
    assert [reason.code for reason in handler.reasons] == [4000]


async def test_work_continues_beside_another_task_that_waits_for_the_end() -> None:
    work = Work()

    async def handle(connection: vespiary.Connection) -> None:
        watching = asyncio.ensure_future(connection.wait_closed())
        try:
            # It has waited by itself before, which is over.
            async with asyncio.timeout(0):
                await connection.wait_closed()
        except TimeoutError:
            pass
        await work.do(connection)
        connection.send("answer")
        assert not watching.done()

    async with serving(handle) as server:
        client, stopping = await begin(work, server)
        work.free.set()
        assert await client.receive() == "answer"
        assert (await client.wait_closed()).code == 1001
        await stopping


async def test_every_handler_that_still_works_sees_that_its_server_stops() -> None:
    """Also one whose connection has ended: before the stop, or by it."""
    seen: dict[str, tuple[bool, bool]] = {}
    gone = asyncio.Event()

    async def handle(connection: vespiary.Connection) -> None:
        name = str(await connection.receive())
        try:
            if name == "left":
                await connection.wait_closed()
                gone.set()
            await forever()
        finally:
            seen[name] = (connection.is_open, connection.is_shutting_down)

    async with serving(handle) as server:
        clients = {name: await vespiary.connect(server.urls[0]) for name in ("left", "stayed")}
        for name, client in clients.items():
            client.send(name)
            await client.ping()
        await clients["left"].close()
        await gone.wait()
        await server.stop(0)
        await clients["stayed"].wait_closed()
    assert seen == {"left": (False, True), "stayed": (seen["stayed"][0], True)}
