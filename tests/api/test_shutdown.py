"""A graceful shutdown: work under way gets its time, everybody gets 1001, no task stays."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
import websockets.asyncio.client

import vespiary
from tests.logs import lines
from vespiary import CloseCode
from vespiary.handler import AnyHandler

from .kit import TCP, WS, Echo, forever, serving, turns, until

HTTP = "http://127.0.0.1:0"


def other_tasks() -> set[asyncio.Task[object]]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, "vespiary"):
        yield


class Waits(vespiary.Handler):
    """Lets its connections go on while the server stops."""

    def on_shutdown(self, connection: vespiary.Connection) -> None: ...


class Gate:
    """Work that takes until it is released."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.free = asyncio.Event()
        self.done: list[str] = []

    async def work(self, what: str) -> None:
        self.begun.set()
        await self.free.wait()
        self.done.append(what)


Make = Callable[[Gate], AnyHandler]


def in_on_close(gate: Gate) -> vespiary.Handler:
    class Saves(vespiary.Handler):
        async def on_close(
            self, connection: vespiary.Connection, reason: vespiary.CloseReason
        ) -> None:
            await gate.work("saved")

    return Saves()


def in_on_message(gate: Gate) -> vespiary.Handler:
    class Works(vespiary.Handler):
        async def on_message(self, connection: vespiary.Connection, message: object) -> None:
            await gate.work("worked")
            connection.send("done")

    return Works()


def in_on_shutdown(gate: Gate) -> vespiary.Handler:
    class Says(vespiary.Handler):
        async def on_shutdown(self, connection: vespiary.Connection) -> None:
            await gate.work("said")
            connection.send("goodbye")
            connection.close(CloseCode.SERVICE_RESTART)

    return Says()


def in_finally(gate: Gate) -> Callable[[vespiary.Connection], Awaitable[None]]:
    async def handle(connection: vespiary.Connection) -> None:
        try:
            async for _ in connection:
                pass
        finally:
            await gate.work("finally")

    return handle


@pytest.mark.parametrize("make", [in_on_close, in_on_message, in_on_shutdown, in_finally])
async def test_work_in_progress_gets_its_time(make: Make) -> None:
    gate = Gate()
    server = vespiary.Server()
    server.add(make(gate), WS)
    await server.start()
    client = await vespiary.connect(server.urls[0])
    client.send("work")
    await until(lambda: server.statistics().total.messages_received)
    stopping = asyncio.ensure_future(server.stop())
    await gate.begun.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not stopping.done()
    gate.free.set()
    await stopping
    reason = await client.wait_closed()
    assert len(gate.done) == 1
    assert reason.code == (CloseCode.SERVICE_RESTART if gate.done == ["said"] else 1001)
    assert not other_tasks()


@pytest.mark.parametrize("make", [in_on_close, in_on_message, in_on_shutdown, in_finally])
async def test_work_that_takes_longer_than_the_drain_is_cancelled_and_awaited(make: Make) -> None:
    gate = Gate()
    server = vespiary.Server()
    server.add(make(gate), WS)
    await server.start()
    client = await vespiary.connect(server.urls[0])
    client.send("work")
    await until(lambda: server.statistics().total.messages_received)
    await server.stop(drain_seconds=0.05)
    assert (await client.wait_closed()).code == 1001
    assert gate.begun.is_set()
    assert not gate.done
    assert not other_tasks()


async def test_a_plain_handler_closes_at_once_with_1001_behind_what_is_queued() -> None:
    async with serving(Echo) as server:
        client = await vespiary.connect(server.urls[0])
        client.send("x" * 100_000)
        await until(lambda: server.statistics().total.messages_received)
        await server.stop()
        assert len(await client.receive()) == 100_000
        reason = await client.wait_closed()
        assert (reason.side, reason.kind, reason.code) == ("remote", "closed", 1001)


async def test_a_handler_with_on_shutdown_may_continue_until_it_closes_by_itself() -> None:
    class Polite(vespiary.Handler):
        def on_shutdown(self, connection: vespiary.Connection) -> None:
            connection.send("any last words?")

        def on_message(self, connection: vespiary.Connection, message: object) -> None:
            connection.send(f"heard {message}")
            connection.close(CloseCode.GOING_AWAY, "bye")

    async with serving(Polite) as server:
        async with websockets.asyncio.client.connect(server.urls[0]) as client:
            stopping = asyncio.ensure_future(server.stop())
            assert await client.recv() == "any last words?"
            await client.send("none")
            assert await client.recv() == "heard none"
            with pytest.raises(websockets.ConnectionClosedOK):
                await client.recv()
            assert (client.close_code, client.close_reason) == (1001, "bye")
        await stopping


async def test_an_on_shutdown_that_fails_ends_its_connection_with_1011_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Fails(vespiary.Handler):
        def on_shutdown(self, connection: vespiary.Connection) -> None:
            raise ZeroDivisionError

    async with serving(Fails) as server:
        client = await vespiary.connect(server.urls[0])
        await server.stop()
        assert (await client.wait_closed()).code == 1011
    assert "ZeroDivisionError" in caplog.text


async def test_an_async_on_request_in_progress_answers() -> None:
    gate = Gate()

    class Slow(vespiary.Handler):
        async def on_request(self, request: vespiary.Request) -> vespiary.Response:
            await gate.work("answered")
            return request.respond(200, "here you are\n")

    async with serving(Slow, HTTP) as server:
        host, port = server.urls[0].removeprefix("http://").rstrip("/").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await gate.begun.wait()
        stopping = asyncio.ensure_future(server.stop())
        await turns()
        gate.free.set()
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close" in answer
        assert answer.endswith(b"here you are\n")
        writer.close()
        await stopping


@asynccontextmanager
async def accepting_later(
    gate: Gate,
) -> AsyncIterator[tuple[vespiary.Server, asyncio.Future[vespiary.Connection]]]:
    """A server whose handshakes wait for a gate, and a client that has begun one."""

    class Slow(Echo):
        async def on_request(self, request: vespiary.Request) -> vespiary.Response:
            await gate.work("accepted")
            return request.accept()

    async with serving(Slow) as server:
        connecting = asyncio.ensure_future(vespiary.connect(server.urls[0])._connect())
        await gate.begun.wait()
        yield server, connecting


async def test_an_upgrade_accepted_during_the_shutdown_is_closed_with_1001() -> None:
    gate = Gate()
    async with accepting_later(gate) as (server, connecting):
        stopping = asyncio.ensure_future(server.stop())
        await turns()
        gate.free.set()
        client = await connecting
        assert (await client.wait_closed()).code == 1001
        await stopping
    assert not other_tasks()


async def test_a_task_that_swallows_its_cancellation_is_cancelled_again() -> None:
    swallowed: list[vespiary.Connection] = []

    async def stubborn(connection: vespiary.Connection) -> None:
        while len(swallowed) < 2:
            try:
                await forever()
            except asyncio.CancelledError:
                swallowed.append(connection)

    async with serving(stubborn, TCP) as server:
        client = await vespiary.connect(server.urls[0])
        await until(lambda: server.statistics().total.connections_open)
        await server.stop(drain_seconds=0)
        await client.wait_closed()
    assert len(swallowed) == 2
    assert not other_tasks()


async def test_a_client_that_never_answers_the_close_frame_is_reset_after_close_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    deadlines = vespiary.Deadlines(close_seconds=0.2)
    async with serving(Waits, deadlines=deadlines) as server:
        client = await websockets.asyncio.client.connect(server.urls[0])
        client.transport.pause_reading()
        await server.stop(drain_seconds=0.05)
        client.transport.abort()
    assert "ending 1 connection on ws://" in caplog.text
    assert "Stopped after" in caplog.text


async def test_every_step_is_logged_with_its_counts(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Echo) as server:
        clients = [await vespiary.connect(server.urls[0]) for _ in range(3)]
        await server.stop()
        for client in clients:
            await client.wait_closed()
    assert "Stopping: waiting for up to 8 s for 3 connections to finish" in caplog.text
    assert "Stopped after" in caplog.text


async def test_on_stop_comes_after_the_last_connection_and_is_awaited() -> None:
    calls: list[str] = []

    class Tidy(vespiary.Handler):
        async def on_close(
            self, connection: vespiary.Connection, reason: vespiary.CloseReason
        ) -> None:
            await turns()
            calls.append("close")

        async def on_stop(self, server: vespiary.Server) -> None:
            await turns()
            calls.append("stop")

    async with serving(Tidy) as server:
        client = await vespiary.connect(server.urls[0])
        await until(lambda: server.statistics().total.connections_open)
        assert client.is_open
    assert calls == ["close", "stop"]


async def test_blocking_calls_on_threads_get_their_time() -> None:
    done: list[str] = []
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Blocks(vespiary.Handler):
        def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
            loop.call_soon_threadsafe(begun.set)
            done.append("saved")

    async with serving(Blocks, executor="threads") as server:
        client = await vespiary.connect(server.urls[0])
        await until(lambda: server.statistics().total.connections_open)
        await server.stop()
        await client.wait_closed()
    assert done == ["saved"]


async def test_answers_of_handshakes_in_progress_reach_their_clients() -> None:
    """An answer is written when the round is settled: a cue in that very round does not drop it."""

    class Slow(Echo):
        async def on_request(self, request: vespiary.Request) -> vespiary.Response:
            begun.append(request)
            await free.wait()
            return request.respond(int(request.path[1:]), "answer\n")

    upgrade = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    cases = [(status, lines) for status in (200, 401, 503) for lines in (b"", upgrade)]

    async def ask(url: str, status: int, lines: bytes) -> bytes:
        host, port = url.removeprefix("ws://").rstrip("/").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /%d HTTP/1.1\r\nHost: x\r\n%s\r\n" % (status, lines))
        answer = await reader.read()
        writer.close()
        return answer

    for delay in (0.0, 0.001, 0.01, 0.02):
        begun: list[vespiary.Request] = []
        free = asyncio.Event()
        async with serving(Slow) as server, asyncio.TaskGroup() as group:
            asking = [group.create_task(ask(server.urls[0], *case)) for case in cases]
            await until(lambda: len(begun) == len(cases))  # noqa: B023 - Awaited at once.
            # Timers that are due together run in one round.
            asyncio.get_running_loop().call_later(delay, free.set)
            await server.stop()
        for (status, _), task in zip(cases, asking, strict=True):
            answer = task.result()
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert answer.endswith(b"answer\n")
            assert b"Connection: close" in answer


async def test_a_handshake_that_outlasts_the_drain_is_answered_503() -> None:
    gate = Gate()
    async with accepting_later(gate) as (server, connecting):
        await server.stop(drain_seconds=0.05)
        with pytest.raises(vespiary.HandshakeRefused) as caught:
            await connecting
    assert caught.value.status == 503
    assert caught.value.headers["Retry-After"] == "1"
    assert not gate.done


async def test_the_whole_stop_takes_no_longer_than_drain_seconds() -> None:
    """A client that answers nothing is reset when they are over, and not `close_seconds` later."""

    deadlines = vespiary.Deadlines(close_seconds=60, drain_seconds=1)
    async with serving(Waits, deadlines=deadlines) as server:
        client = await websockets.asyncio.client.connect(server.urls[0])
        client.transport.pause_reading()
        began = asyncio.get_running_loop().time()
        await server.stop()
        taken = asyncio.get_running_loop().time() - began
        client.transport.abort()
    assert 0.9 < taken < 16


async def test_tasks_that_swallow_their_cancellation_are_left_and_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vespiary._shutdown.CANCEL_SECONDS", 0.01)
    going = asyncio.Event()

    async def swallow() -> None:
        while not going.is_set():
            try:
                await going.wait()
            except asyncio.CancelledError:
                continue

    class Stubborn(vespiary.Handler):
        async def on_message(self, connection: vespiary.Connection, message: str) -> None:
            await swallow()

    async def stubborn(connection: vespiary.Connection) -> None:
        await swallow()

    server = vespiary.Server()
    server.add(Stubborn, WS)
    server.add(stubborn, WS)
    async with server:
        clients = [await vespiary.connect(url) for url in server.urls]
        peers = [vespiary._logging.address_text(client.local_address) for client in clients]
        clients[0].send("begin")
        await clients[0].ping()
        await server.stop(drain_seconds=0)
        for client in clients:
            await client.wait_closed()
    left = [line for line in lines(caplog) if "Still running" in line]
    assert all("cancellations, which it ignored: 1 task on ws://" in line for line in left)
    assert any(line.endswith(f"Stubborn (peer {peers[0]})") for line in left)
    assert any(line.endswith(f".stubborn (peer {peers[1]})") for line in left)
    assert "0x" not in "".join(left)
    going.set()
    await until(lambda: not other_tasks())


async def test_on_close_is_called_when_a_busy_connection_of_a_dead_peer_is_reset() -> None:
    began, closed = asyncio.Event(), []

    class Busy(vespiary.Handler):
        async def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
            began.set()
            await asyncio.Event().wait()

        def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
            closed.append(reason.kind)

    server = vespiary.Server()
    server.add(Busy(), TCP, framing="line")
    await server.start()
    endpoint = vespiary.Endpoint.parse(server.urls[0])
    _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    writer.write(b"hello\n")
    await began.wait()
    await server.stop(0.2)
    assert closed == ["closed"]
    writer.close()
