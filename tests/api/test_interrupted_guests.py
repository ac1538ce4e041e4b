"""Vespiary in a loop that is not its own, where other code runs in the middle of its calls.

A signal's handler, a finalizer or a loop of the user's own may run wherever Python code does: so in
the loop's `call_soon` and `time`, and in the callbacks that take turns. Here that happens at chosen
moments.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

import vespiary
from vespiary.loop._guest import Guest

from .kit import TCP, WS, Echo, echo, serving, until


class Alarm(Exception):
    """What the handler of a signal raises."""


class Hooks:
    """What runs, once, in the next call of a method of the loop."""

    def __init__(self) -> None:
        self.call_soon: Callable[[], object] | None = None
        self.time: Callable[[], object] | None = None
        self.runs = 0

    def run(self, name: str) -> None:
        hook = getattr(self, name)
        if hook is not None:
            setattr(self, name, None)
            self.runs += 1
            hook()


@pytest.fixture
def hooks() -> Hooks:
    return Hooks()


@pytest.fixture(params=["asyncio", "uvloop"])
def runner(
    request: pytest.FixtureRequest, driver: str, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Runs a coroutine in a loop of the user's own, on each driver."""
    monkeypatch.setenv("VESPIARY_DRIVER", driver)
    base: Any = asyncio.SelectorEventLoop
    if request.param == "uvloop":
        base = pytest.importorskip("uvloop").Loop

    class Hooked(base):  # type: ignore[misc]
        def call_soon(self, *arguments: Any, **options: Any) -> asyncio.Handle:
            hooks.run("call_soon")
            handle: asyncio.Handle = super().call_soon(*arguments, **options)
            return handle

        def time(self) -> float:
            hooks.run("time")
            now: float = super().time()
            return now

    with asyncio.Runner(loop_factory=Hooked) as runner:
        yield runner


@pytest.fixture
def raises_alarm() -> Any:
    def handler(number: int, frame: FrameType | None) -> None:
        raise Alarm

    before = signal.signal(signal.SIGUSR1, handler)
    yield lambda: signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_while_a_turn_is_scheduled_is_raised_by_the_call_and_the_turn_is_taken(
    runner: asyncio.Runner, hooks: Hooks, raises_alarm: Callable[[], None]
) -> None:
    async def main() -> None:
        async with (
            serving(echo, TCP, framing="line") as server,
            vespiary.connect(server.urls[0], framing="line") as connection,
        ):
            alarms = 0
            while alarms < 3:
                # Within a turn, or where one is scheduled already, none is scheduled.
                await asyncio.sleep(0)
                hooks.call_soon = raises_alarm
                try:
                    connection.send(b"message")
                except Alarm:
                    alarms += 1
                hooks.call_soon = None
                assert await connection.receive() == b"message"

    runner.run(main())


def test_parts_continue_after_a_signal_while_a_turn_is_scheduled(
    runner: asyncio.Runner, hooks: Hooks, raises_alarm: Callable[[], None]
) -> None:
    async def main() -> None:
        async with serving(echo) as server, vespiary.connect(server.urls[0]) as connection:
            alarms = 0
            while alarms < 3:
                await asyncio.sleep(0)
                hooks.call_soon = raises_alarm
                try:
                    connection.send_part("begun, ")
                except Alarm:
                    alarms += 1
                hooks.call_soon = None
                connection.send_part("finished", last=True)
                assert await connection.receive() == "begun, finished"

    runner.run(main())


def test_what_is_sent_just_below_the_recursion_limit_leaves(runner: asyncio.Runner) -> None:
    def send_at_depth(connection: vespiary.Connection, depth: int) -> None:
        if depth:
            send_at_depth(connection, depth - 1)
        else:
            connection.send("deep")

    async def main() -> None:
        async with serving(echo) as server, vespiary.connect(server.urls[0]) as connection:
            depth, sent = sys.getrecursionlimit(), 0
            while sent < 12:
                depth -= 1
                with contextlib.suppress(RecursionError):
                    send_at_depth(connection, depth)
                    sent += 1
                    assert await connection.receive() == "deep"

    runner.run(main())


@pytest.mark.parametrize("name", ["_turn", "_rest", "_watch", "timed"])
def test_a_signal_in_the_guests_callback_stops_nothing(runner: asyncio.Runner, name: str) -> None:
    code = getattr(Guest, name).__code__
    raised: list[str] = []

    def trace(frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code is code:
            raised.append(name)
            raise Alarm  # This also ends the tracing.

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        async with serving(echo) as server, vespiary.connect(server.urls[0]) as connection:
            fired = asyncio.Event()
            before = sys.gettrace()
            sys.settrace(trace)
            try:
                connection.set_timer(0.05, lambda _: fired.set())
                connection.send("sent")
                assert await connection.receive() == "sent"
                await fired.wait()
                # A deadline's callback may be a later one.
                while not raised:
                    await connection.ping()
                    server.set_timer(0.01, lambda: None)
                    await asyncio.sleep(0.02)
            finally:
                sys.settrace(before)
            fired.clear()
            connection.set_timer(0.01, lambda _: fired.set())
            await fired.wait()
            connection.send("again")
            assert await connection.receive() == "again"

    runner.run(main())
    assert raised == [name]


def operations(server: vespiary.Server) -> dict[str, Callable[[vespiary.Connection], object]]:
    return {
        "send": lambda it: it.send(b"message"),
        "send much": lambda it: it.send(bytes(40_000)),
        "send_part": lambda it: it.send_part("part", last=True),
        "publish": lambda it: server.publish("topic", b"message"),
        "publish much": lambda it: server.publish("topic", bytes(40_000)),
        "ping": lambda it: it.ping(),
        "pause": lambda it: it.pause_reading(),
        "resume": lambda it: it.resume_reading(),
        "subscribe": lambda it: it.is_open and it.subscribe("other"),
        "unsubscribe": lambda it: it.unsubscribe("other"),
        "set_timer": lambda it: it.set_timer(0.001, lambda _: None),
        "statistics": lambda it: (it.statistics(), server.statistics()),
        "queued_bytes": lambda it: it.queued_bytes,
        "drain": lambda it: it.drain(),
        "close": lambda it: it.close(),
        "abort": lambda it: it.abort(),
    }


class Subscribing(Echo):
    def __init__(self) -> None:
        self.connections: list[vespiary.Connection] = []

    def on_open(self, connection: vespiary.Connection) -> None:
        self.connections.append(connection)
        connection.subscribe("topic")

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        pass


@pytest.mark.parametrize("place", ["call_soon", "time"])
def test_every_operation_can_run_within_every_other(
    runner: asyncio.Runner, hooks: Hooks, place: str
) -> None:
    failures: list[str] = []

    async def check(server: vespiary.Server, handler: Subscribing, outer: str, inner: str) -> None:
        async with vespiary.connect(server.urls[0]):
            await until(lambda: handler.connections)
            connection = handler.connections.pop()

            def attempt(name: str) -> None:
                try:
                    with contextlib.suppress(vespiary.ConnectionClosed):
                        operations(server)[name](connection)
                except BaseException as error:
                    failures.append(f"{inner} in {outer}: {error!r}")

            # Nothing else may be in the way of the turn that the operation wants.
            await asyncio.sleep(0.001)
            setattr(hooks, place, lambda: attempt(inner))
            attempt(outer)
            setattr(hooks, place, None)
            connection.abort()

    async def main() -> None:
        handler = Subscribing()
        async with serving(handler, WS) as server:
            for outer in operations(server):
                for inner in operations(server):
                    await check(server, handler, outer, inner)

    runner.run(main())
    assert not failures
    assert hooks.runs > 10
