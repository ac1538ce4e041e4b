"""Vespiary in a loop that is not its own: how it comes and goes, and what it leaves to the loop.

That servers and clients do there what they do in Vespiary's loop, the other files show: run them
with VESPIARY_TEST_LOOP=asyncio and =uvloop. `test_the_other_tests_pass_in_this_loop` is a sample.
"""

import asyncio
import contextvars
import gc
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

import vespiary
from vespiary.loop import Loop, running_core

from .conftest import loop_factory
from .kit import (
    OWN_TCP,
    Echo,
    Recorder,
    are_gone,
    echo,
    open_descriptors,
    serving,
    until,
    wait_until,
)

KINDS = ["asyncio", "uvloop"]
SAMPLE = ["test_handlers.py", "test_threads.py", "test_topics.py", "test_timers.py"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def factory(
    kind: str, driver: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], asyncio.AbstractEventLoop]:
    """Makes a loop in which Vespiary is a guest, on each driver."""
    monkeypatch.setenv("VESPIARY_DRIVER", driver)
    return loop_factory(kind)


Factory = Callable[[], asyncio.AbstractEventLoop]


class Closings(vespiary.Handler):
    def __init__(self) -> None:
        self.names: list[str] = []

    def on_open(self, connection: vespiary.Connection) -> None:
        self.names.append("open")

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        self.names.append("close")


async def exchange(handler: object = None) -> None:
    async with (
        serving(handler or Echo()) as server,  # type: ignore[arg-type]
        vespiary.connect(server.urls[0]) as connection,
    ):
        for number in range(20):
            connection.send(f"{number}")
            assert await connection.receive() == f"{number}"


@pytest.mark.slow
def test_the_other_tests_pass_in_this_loop(kind: str, driver: str) -> None:
    here = Path(__file__).parent
    environment = {**os.environ, "VESPIARY_TEST_LOOP": kind}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", driver]
    command += [str(here / name) for name in SAMPLE]
    done = subprocess.run(
        command,
        cwd=here.parent.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_guest_ends_with_its_loop_and_leaves_nothing(factory: Factory) -> None:
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(exchange())  # What the loop itself keeps permanently is there from now on.
    before = open_descriptors()
    for handler in (Echo(), echo):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(exchange(handler))
            gone = weakref.ref(runner.get_loop())
        del runner
        assert open_descriptors() == before
        assert gone() is None


def test_servers_and_connections_that_are_left_open_end_with_the_loop(factory: Factory) -> None:
    async def leave(handler: Closings) -> None:
        server = vespiary.Server()
        server.add(handler, "ws://127.0.0.1:0")
        await server.start()
        left.append(await vespiary.connect(server.urls[0]))
        await until(lambda: handler.names)

    left: list[vespiary.Connection] = []

    def run() -> None:
        handler = Closings()
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(leave(handler))
        left.clear()
        assert handler.names == ["open", "close"]

    run()  # What the loop itself keeps permanently is there from now on.
    before = open_descriptors()
    run()
    assert open_descriptors() == before


class KeepsItsServer(Echo):
    def on_start(self, server: vespiary.Server) -> None:
        self.server = server


@pytest.mark.parametrize("form", ["Handler", "coroutine", "two endpoints", "threads"])
@pytest.mark.parametrize("kind", ["vespiary", *KINDS], indirect=True)
def test_a_server_that_is_left_open_goes_with_its_loop(factory: Factory, form: str) -> None:
    gone: list[weakref.ref[object]] = []
    kept: list[vespiary.Connection] = []

    async def leave() -> None:
        server = vespiary.Server()

        async def keeps(connection: vespiary.Connection) -> None:
            assert server.urls
            async for message in connection:
                connection.send(message)

        handler = keeps if form == "coroutine" else KeepsItsServer()
        executor: Literal["threads"] | None = "threads" if form == "threads" else None
        server.add(handler, "ws://127.0.0.1:0/one", executor=executor)
        if form == "two endpoints":
            server.add(KeepsItsServer(), "ws://127.0.0.1:0/two")
        await server.start()
        connection = await vespiary.connect(server.urls[0])
        connection.send("x")
        await connection.receive()
        kept.append(connection)
        gone.extend([weakref.ref(server), weakref.ref(handler)])

    before = set(threading.enumerate())

    def threads() -> list[str]:
        names = [thread.name for thread in set(threading.enumerate()) - before]
        return [name for name in names if name.startswith("vespiary_")]

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(leave())
    del runner
    # The calls of on_close may still run on their threads.
    wait_until(lambda: are_gone(gone) and not threads())


def test_a_loop_that_is_closed_without_shutting_down_generators_ends_its_guest(
    factory: Factory,
) -> None:
    loop = factory()
    server = vespiary.Server()
    server.add(Echo, OWN_TCP)
    loop.run_until_complete(server.start())
    url = server.urls[0]
    loop.close()
    gc.collect()
    with pytest.raises(OSError, match="refused"):
        vespiary.sync.connect(url)


def test_several_runs_of_one_loop_share_one_guest(factory: Factory) -> None:
    loop = factory()

    async def core() -> object:
        return running_core()

    first = loop.run_until_complete(core())
    assert loop.run_until_complete(core()) is first
    loop.run_until_complete(exchange())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def test_nothing_is_warned_of(factory: Factory, driver: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with asyncio.Runner(loop_factory=factory, debug=True) as runner:
            runner.run(exchange(echo))
        gc.collect()


def test_an_idle_guest_takes_no_turns(factory: Factory) -> None:
    async def idle() -> int:
        async with (
            serving(Echo()) as server,
            vespiary.connect(server.urls[0]) as connection,
        ):
            connection.send("x")
            await connection.receive()
            await asyncio.sleep(0.3)  # A look for resets follows bytes.
            before = server.statistics().port.turns
            await asyncio.sleep(0.2)
            return server.statistics().port.turns - before

    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(idle()) < 20


def test_the_loops_own_callbacks_run_beside_a_connection_that_never_rests(
    factory: Factory,
) -> None:
    class Endless(vespiary.Handler):
        def on_open(self, connection: vespiary.Connection) -> None:
            connection.send("x")

        def on_message(self, connection: vespiary.Connection, message: str | bytes) -> None:
            connection.send(message)

    async def race() -> None:
        async with serving(Endless(), "tcp://127.0.0.1:0") as server:
            connection = await vespiary.connect(server.urls[0])

            async def pump() -> None:
                async for message in connection:
                    connection.send(message)

            pumping = asyncio.ensure_future(pump())
            for _ in range(100):
                await asyncio.sleep(0)
            began = time.monotonic()
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert time.monotonic() - began < 5
            pumping.cancel()
            connection.abort()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(race())


def test_other_threads_send_and_wake_a_sleeping_loop(factory: Factory) -> None:
    recorder = Recorder()

    async def main() -> None:
        async with (
            serving(recorder) as server,
            vespiary.connect(server.urls[0]) as connection,
        ):
            await until(lambda: recorder.connections)
            inside = recorder.connections[0]
            thread = threading.Thread(target=lambda: inside.send("from a thread"))
            thread.start()
            assert await connection.receive() == "from a thread"
            thread.join()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def test_an_exception_that_must_end_the_program_ends_the_loops_run(factory: Factory) -> None:
    class Leaving(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: str | bytes) -> None:
            raise SystemExit(7)

    async def main() -> None:
        async with (
            serving(Leaving()) as server,
            vespiary.connect(server.urls[0]) as connection,
        ):
            connection.send("go")
            await connection.receive()

    with pytest.raises(SystemExit) as caught, asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert caught.value.code == 7


def test_signals_are_the_loops_affair(factory: Factory) -> None:
    async def main() -> None:
        arrived = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, arrived.set)
        async with serving(Echo()):
            os.kill(os.getpid(), signal.SIGUSR1)
            await arrived.wait()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def test_callbacks_do_not_run_in_the_context_of_the_first_use(factory: Factory) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def main() -> None:
        variable.set("a request's")
        core = running_core()
        seen: list[str | None] = []
        contextvars.Context().run(core.set_timer, 0.001, lambda: seen.append(variable.get(None)))
        await until(lambda: seen)
        assert seen == [None]

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def test_vespiarys_loop_on_another_selector_has_a_guest(driver: str) -> None:
    loop = Loop(selectors.SelectSelector())
    loop.run_until_complete(exchange(echo))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    with pytest.raises(vespiary.ConfigurationError, match="selector"):
        Loop(selectors.SelectSelector(), spin_microseconds=5)
