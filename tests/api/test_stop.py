"""A stop comes to its end, however it is asked for, and whatever handlers raise meanwhile."""

import asyncio
import contextlib
import logging
import subprocess
import sys
from collections.abc import Callable

import pytest

import vespiary

from .kit import OWN_WS, TCP, WS, Echo, Recorder, serving, turns, until


class Lingers(Echo):
    """Lets its connections go on for as long as the drain lets them."""

    def __init__(self) -> None:
        self.stops = 0

    def on_shutdown(self, connection: vespiary.Connection) -> None: ...

    def on_stop(self, server: vespiary.Server) -> None:
        self.stops += 1


async def check_ended(server: vespiary.Server, client: vespiary.Connection) -> None:
    """Nothing of the server is left, and it can be started again."""
    await server.wait_stopped()
    assert (await client.wait_closed()).side == "remote"
    assert server.statistics().total.connections_open == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    with pytest.raises(ConnectionRefusedError):
        await vespiary.connect(server.urls[0])
    async with server, vespiary.connect(server.urls[0]) as again:
        again.send("hello")
        assert await again.receive() == "hello"


async def begin(handler: vespiary.Handler) -> tuple[vespiary.Server, vespiary.Connection]:
    server = vespiary.Server(signals=False)
    server.add(handler, OWN_WS)
    await server.start()
    return server, await vespiary.connect(server.urls[0])


async def test_a_stop_continues_when_the_task_that_awaits_it_is_cancelled() -> None:
    handler = Lingers()
    server, client = await begin(handler)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(server.stop(3600), 0.05)
    client.send("still there?")
    assert await client.receive() == "still there?"
    await client.close()
    await server.wait_stopped()
    assert handler.stops == 1
    with pytest.raises(ConnectionRefusedError):
        await vespiary.connect(server.urls[0])


async def test_a_further_stop_may_shorten_the_drain() -> None:
    handler = Lingers()
    server, client = await begin(handler)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(server.stop(3600), 0.05)
    await server.stop(0)
    assert handler.stops == 1
    await check_ended(server, client)


async def test_a_further_stop_does_not_lengthen_the_drain() -> None:
    server, client = await begin(Lingers())
    first = asyncio.ensure_future(server.stop(0.05))
    await asyncio.sleep(0)
    await server.stop(3600)
    await first
    await check_ended(server, client)


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_everything_ends_at_once_when_every_task_is_cancelled(turns: int) -> None:
    handler = Lingers()
    server, client = await begin(handler)
    server.stop_soon()
    for _ in range(turns):
        await asyncio.sleep(0)
    ours = asyncio.all_tasks() - {asyncio.current_task()}
    for task in ours:
        task.cancel()
    await asyncio.wait(ours)
    await server.wait_stopped()
    assert handler.stops == 1
    await check_ended(server, client)


async def test_an_async_on_close_is_called_when_its_task_is_cancelled_before_it_begins() -> None:
    ended: list[vespiary.CloseReason] = []

    class Careful(vespiary.Handler):
        async def on_message(self, connection: vespiary.Connection, message: object) -> None: ...

        async def on_close(
            self, connection: vespiary.Connection, reason: vespiary.CloseReason
        ) -> None:
            ended.append(reason)

    async with serving(Careful()) as server:
        known = asyncio.all_tasks()
        client = asyncio.ensure_future(vespiary.connect(server.urls[0]))
        while not (new := asyncio.all_tasks() - known - {client}):  # noqa: ASYNC110 # Each turn.
            await asyncio.sleep(0)
        assert [task.cancel() for task in new] == [True]
        await (await client).wait_closed()
        await until(lambda: ended)


def test_a_run_that_ends_during_a_stop_leaves_nothing() -> None:
    handler = Lingers()

    async def main() -> tuple[vespiary.Server, vespiary.Connection]:
        server, client = await begin(handler)
        server.stop_soon()
        await turns()
        return server, client

    server, _client = asyncio.run(main())
    assert handler.stops == 1
    assert server.statistics().total.connections_open == 0


class Raises(BaseException):
    """Not an Exception."""


errors = pytest.mark.parametrize("error", [asyncio.CancelledError, Raises, GeneratorExit, OSError])


@errors
async def test_an_on_shutdown_that_raises_concerns_its_own_connection_alone(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    called: list[vespiary.Connection] = []

    class Fails(Lingers):
        def on_shutdown(self, connection: vespiary.Connection) -> None:
            called.append(connection)
            if len(called) == 1:
                raise error
            connection.close(1001)

    server, client = await begin(Fails())
    others = [await vespiary.connect(server.urls[0]) for _ in range(2)]
    await server.stop(3600)
    codes = [(await one.wait_closed()).code for one in (client, *others)]
    assert sorted(codes, key=str) == [1001, 1001, 1011]
    assert error.__name__ in caplog.text
    assert len(called) == 3


@errors
@pytest.mark.parametrize("is_async", [False, True])
async def test_an_on_stop_that_raises_is_logged_and_the_stop_continues(
    is_async: bool, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(Echo):
        def on_stop(self, server: vespiary.Server) -> object:  # type: ignore[override]
            async def fail() -> None:
                raise error

            if is_async:
                return fail()
            raise error

    server, client = await begin(Fails())
    recorder = Recorder()
    server.add(recorder, TCP)
    await server.stop()
    assert recorder.names == ["start", "stop"]
    assert "on_stop failed on ws://" in caplog.text
    await check_ended(server, client)


def test_a_plain_on_stop_that_exits_the_program_does_so_when_everything_has_ended() -> None:
    recorder = Recorder()
    servers: list[vespiary.Server] = []

    class Exits(Echo):
        def on_stop(self, server: vespiary.Server) -> None:
            raise SystemExit(5)

    async def main() -> None:
        server = vespiary.Server(signals=False)
        servers.append(server)
        server.add(Exits, TCP)
        server.add(recorder, TCP)
        async with server:
            pass

    with pytest.raises(SystemExit) as raised:
        vespiary.run(main())
    assert raised.value.code == 5
    assert recorder.names == ["start", "stop"]
    with pytest.raises(RuntimeError, match="the server does not run"):
        servers[0].publish("topic", "x")


async def stop_soon(server: vespiary.Server) -> None:
    server.stop_soon()


async def stop_in_a_task(server: vespiary.Server) -> None:
    await asyncio.wait_for(server.stop(), 60)


stops = pytest.mark.parametrize(
    "stop", [stop_soon, vespiary.Server.stop, stop_in_a_task], ids=lambda stop: stop.__name__
)


@stops
async def test_an_on_stop_may_stop_the_server(stop: Callable[..., object]) -> None:
    calls: list[str] = []

    class Stops(Echo):
        async def on_stop(self, server: vespiary.Server) -> None:
            await stop(server)  # type: ignore[misc]
            calls.append("stopped")

    async with serving(Stops) as server:
        pass
    await server.wait_stopped()
    assert calls == ["stopped"]


async def test_a_task_made_in_on_start_waits_for_the_end_when_it_stops_the_server_later() -> None:
    class Watches(Lingers):
        def on_start(self, server: vespiary.Server) -> None:
            self.free = asyncio.Event()
            self.task = asyncio.ensure_future(self.watch(server))

        async def watch(self, server: vespiary.Server) -> int:
            await self.free.wait()
            await server.stop(0.01)
            return self.stops

    handler = Watches()
    server, _ = await begin(handler)
    handler.free.set()
    assert await handler.task == 1
    await server.wait_stopped()


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vespiary")


async def test_a_second_stop_shortens_the_drain_also_before_that_has_begun() -> None:
    started = asyncio.Event()

    async def stays(connection: vespiary.Connection) -> None:
        started.set()
        await asyncio.Event().wait()

    deadlines = vespiary.Deadlines(close_seconds=0.01)
    for first, second in ((3600, 0), (None, 0), (0, 3600), (3600, 0.01)):
        async with serving(stays, deadlines=deadlines) as server:
            started.clear()
            client = await vespiary.connect(server.urls[0])
            await started.wait()
            # In one iteration of the loop, so that the second call comes before the stop's task.
            await asyncio.gather(server.stop(first), server.stop(second))
            assert (await client.wait_closed()).code in (1001, None)


class SwallowsAtStart(Echo):
    """Goes on until `is_over`, whatever is done to it."""

    def __init__(self) -> None:
        self.begun, self.is_over = asyncio.Event(), asyncio.Event()
        self.ended = asyncio.Event()

    async def on_start(self, server: vespiary.Server) -> None:
        self.begun.set()
        while not self.is_over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.is_over.wait()
        self.ended.set()


async def _end(handler: SwallowsAtStart) -> None:
    handler.is_over.set()
    await handler.ended.wait()


async def test_an_on_start_that_swallows_its_cancellation_is_left_running(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = SwallowsAtStart()
    server = vespiary.Server()
    server.add(handler, WS)
    starting = asyncio.ensure_future(server.start())
    await handler.begun.wait()
    async with asyncio.timeout(30):
        await server.stop(0.01)
        await starting
    assert "ignored its cancellation: on_start on ws://" in caplog.text
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await _end(handler)


async def test_an_on_start_of_an_endpoint_added_later_that_swallows_it_is_left_running(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = SwallowsAtStart()
    async with serving(Echo) as server:
        server.add(handler, TCP)
        await handler.begun.wait()
        async with asyncio.timeout(30):
            await server.stop(0.01)
    assert "ignored its cancellation: on_start on tcp://" in caplog.text
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await _end(handler)


LEFT = """
import asyncio, gc, vespiary

class {name}(vespiary.Handler):
    async def {hook}(self, server):
        while True:
            try:
                await asyncio.Future()
            except asyncio.CancelledError:
                pass

async def main():
    server = vespiary.Server()
    server.add(vespiary.Handler(), "ws://127.0.0.1:0")
    await server.start()
    server.add({name}(), "ws://127.0.0.1:0")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    server.stop_soon()
    server.stop_soon()
    await server.wait_stopped()

asyncio.run(main())
gc.collect()
print("ended")
"""


@pytest.mark.parametrize("hook", ["on_start", "on_stop"])
def test_what_is_left_running_is_reported_once(hook: str) -> None:
    code = LEFT.format(name="Swallows", hook=hook)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "ended\n", done.stderr
    assert f"ignored its cancellation: {hook} on ws://" in done.stderr
    assert "Task was destroyed" not in done.stderr
    assert "Traceback" not in done.stderr
