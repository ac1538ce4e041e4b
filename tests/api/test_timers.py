"""Timers, and time in the loop."""

import asyncio
import logging
import time
from typing import Any

import pytest

import vespiary
from tests.logs import records

from .kit import Echo, Recorder, serving, until, virtual_time


@virtual_time
async def test_timers_fire_once_in_the_order_of_their_times() -> None:
    fired: list[str] = []
    async with serving(Recorder()) as server:
        server.set_timer(0.06, lambda: fired.append("late"))
        server.set_timer(0.02, lambda: fired.append("early"))
        server.set_timer(0, lambda: fired.append("now"))
        await until(lambda: len(fired) == 3)
        await asyncio.sleep(60)
    assert fired == ["now", "early", "late"]


@virtual_time
async def test_a_timer_counts_from_the_turn_in_which_it_was_set() -> None:
    fired: list[float] = []
    clock = asyncio.get_running_loop().time
    async with serving(Recorder()) as server:
        began = clock()
        for seconds in (0.001, 0.01, 0.0105, 0.05):
            server.set_timer(seconds, lambda: fired.append(clock()))
        await until(lambda: len(fired) == 4)
    for seconds, moment in zip((0.001, 0.01, 0.0105, 0.05), fired, strict=True):
        # Not early but by the length of that turn, in which little was done.
        assert seconds - 0.005 <= moment - began < seconds + 0.01


async def test_a_timer_is_not_early_by_the_clock_of_the_machine() -> None:
    async with serving(Recorder()) as server:
        fired: list[float] = []
        began = time.monotonic()
        server.set_timer(0.05, lambda: fired.append(time.monotonic()))
        await until(lambda: fired)
    assert fired[0] - began >= 0.045


async def test_a_cancelled_timer_does_not_fire_and_tells_so() -> None:
    fired: list[str] = []
    async with serving(Recorder()) as server:
        timer = server.set_timer(0.01, lambda: fired.append("cancelled"))
        assert timer.cancel()
        assert not timer.cancel()
        other = server.set_timer(0.01, lambda: fired.append("fires"))
        await until(lambda: fired)
        assert not other.cancel()
    assert fired == ["fires"]


@virtual_time
async def test_a_connections_timer_gets_the_connection_and_ends_with_it() -> None:
    recorder = Recorder()
    fired: list[vespiary.Connection] = []
    async with serving(recorder) as server:
        async with vespiary.connect(server.urls[0]):
            await until(lambda: recorder.connections)
            recorder.connections[0].set_timer(0.01, fired.append)
            await until(lambda: fired)
            assert fired == recorder.connections
            recorder.connections[0].set_timer(0.1, fired.append)
        await asyncio.sleep(60)
    assert len(fired) == 1


async def test_a_timer_may_set_another_and_send() -> None:
    recorder = Recorder()

    def tick(connection: vespiary.Connection) -> None:
        connection.send("tick")
        connection.set_timer(0.005, tick)

    async with serving(recorder) as server, vespiary.connect(server.urls[0]) as client:
        await until(lambda: recorder.connections)
        tick(recorder.connections[0])
        for _ in range(10):
            assert await client.receive() == "tick"


async def test_an_exception_in_a_connections_timer_closes_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(connection: vespiary.Connection) -> None:
        raise ZeroDivisionError

    recorder = Recorder()
    async with serving(recorder) as server:
        client = await vespiary.connect(server.urls[0])
        await until(lambda: recorder.connections)
        recorder.connections[0].set_timer(0, fail)
        assert (await client.wait_closed()).code == 1011
    assert len(records(caplog, logging.ERROR)) == 1


async def test_an_exception_in_a_servers_timer_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fired = []

    def fail() -> None:
        fired.append(True)
        raise ZeroDivisionError

    async with serving(Recorder()) as server:
        server.set_timer(0, fail)
        await until(lambda: fired and records(caplog, logging.ERROR))
    assert len(records(caplog, logging.ERROR)) == 1


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 1e12])
async def test_times_that_are_none_are_refused(seconds: float) -> None:
    async with serving(Recorder()) as server:
        with pytest.raises(ValueError, match="timer"):
            server.set_timer(seconds, lambda: None)


async def test_many_timers_are_cheap_and_all_fire() -> None:
    count = 100_000
    fired = 0

    def fire() -> None:
        nonlocal fired
        fired += 1

    async with serving(Recorder()) as server:
        for number in range(count):
            server.set_timer(number % 100 / 1000, fire)
        cancelled = [server.set_timer(0.15, fire) for _ in range(1000)]
        for timer in cancelled:
            assert timer.cancel()
        last = asyncio.Event()
        server.set_timer(0.2, last.set)
        await last.wait()
        await until(lambda: fired == count)
    assert fired == count


@pytest.mark.parametrize("callback", [5, None, "later"])
async def test_a_timer_without_a_function_to_call_is_an_error(callback: Any) -> None:
    async with serving(Echo) as server, vespiary.connect(server.urls[0]) as client:
        with pytest.raises(TypeError, match="set_timer takes a function"):
            server.set_timer(1, callback)
        with pytest.raises(TypeError, match="set_timer takes a function"):
            client.set_timer(1, callback)


async def test_a_timer_is_not_late_because_the_process_was_held_up_before() -> None:
    loop = asyncio.get_running_loop()
    async with serving(Echo) as server:
        # A timer that is far too late shows that the process was held up, for 3 seconds in all.
        for _ in range(3):
            server.set_timer(0.01, lambda: None)
            time.sleep(1)  # noqa: ASYNC251 - The loop is blocked.
            await asyncio.sleep(0.01)
        fired = asyncio.Event()
        began = loop.time()
        server.set_timer(0.05, fired.set)
        await fired.wait()
        assert 0.05 <= loop.time() - began < 2
