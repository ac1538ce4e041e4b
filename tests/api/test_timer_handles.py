"""Timers that repeat, timers that are moved, and what is counted of them."""

import asyncio
import contextvars
import functools
import itertools
import random
import threading
import time
from collections.abc import Callable

import pytest

import vespiary

from .kit import TCP, Echo, Recorder, serving, until, virtual_time

TICK = 0.0011
"""The resolution of timers in seconds, and a little for the turn."""

NAME = contextvars.ContextVar("NAME", default="outside")


def keep_busy(seconds: float) -> None:
    """Block the loop."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@virtual_time
async def test_a_timer_that_repeats_stays_in_step_with_its_first_call() -> None:
    clock = asyncio.get_running_loop().time
    moments: list[float] = []
    async with serving(Recorder()) as server:
        server.set_timer(0.1, lambda: moments.append(clock()), repeat=True)
        await until(lambda: len(moments) == 100)
    for count, moment in enumerate(moments):
        assert abs(moment - moments[0] - 0.1 * count) <= TICK, count


@virtual_time
async def test_a_connections_timer_repeats_until_the_connection_ends() -> None:
    recorder = Recorder()
    fired: list[vespiary.Connection] = []
    async with serving(recorder) as server:
        async with vespiary.connect(server.urls[0]):
            await until(lambda: recorder.connections)
            recorder.connections[0].set_timer(0.01, fired.append, repeat=True)
            await until(lambda: len(fired) == 5)
        await until(lambda: "close" in recorder.names)
        count = len(fired)
        await asyncio.sleep(60)
        assert server.statistics().timers.timers_waiting == 0
    assert len(fired) == count
    assert set(fired) == set(recorder.connections)


@virtual_time
@pytest.mark.parametrize("is_in_callback", [True, False], ids=["in its callback", "outside"])
async def test_a_timer_that_repeats_can_be_cancelled(is_in_callback: bool) -> None:
    fired: list[bool] = []
    async with serving(Recorder()) as server:

        def fire() -> None:
            fired.append(True)
            if is_in_callback and len(fired) == 3:
                assert timer.cancel()

        timer = server.set_timer(0.01, fire, repeat=True)
        await until(lambda: len(fired) == 3)
        assert timer.cancel() is not is_in_callback
        await asyncio.sleep(60)
    assert len(fired) == 3


async def test_calls_that_a_busy_loop_has_missed_are_skipped_and_counted() -> None:
    fired: list[float] = []
    async with serving(Recorder()) as server:
        server.set_timer(0.02, lambda: fired.append(time.monotonic()), repeat=True)
        await until(lambda: fired)
        keep_busy(0.11)
        count = len(fired)
        await until(lambda: len(fired) >= count + 2)
        timers = server.statistics().timers
    assert timers.calls_skipped >= 4
    assert timers.late_seconds_max >= 0.05


async def test_an_exception_in_a_servers_timer_does_not_end_its_repetitions() -> None:
    fired: list[bool] = []

    def fail() -> None:
        fired.append(True)
        raise ZeroDivisionError

    async with serving(Recorder()) as server:
        server.set_timer(0.002, fail, repeat=True)
        await until(lambda: len(fired) >= 3)


async def test_an_exception_in_a_connections_timer_ends_its_repetitions() -> None:
    def fail(connection: vespiary.Connection) -> None:
        raise ZeroDivisionError

    recorder = Recorder()
    async with serving(recorder) as server:
        client = await vespiary.connect(server.urls[0])
        await until(lambda: recorder.connections)
        timer = recorder.connections[0].set_timer(0.002, fail, repeat=True)
        assert (await client.wait_closed()).code == 1011
        await until(lambda: "close" in recorder.names)
        assert not timer.cancel()


@virtual_time
@pytest.mark.parametrize("seconds", [0.001, 0.5, 120])
async def test_a_timer_that_is_moved_fires_once_at_its_new_time(seconds: float) -> None:
    clock = asyncio.get_running_loop().time
    moments: list[float] = []
    async with serving(Recorder()) as server:
        timer = server.set_timer(60, lambda: moments.append(clock()))
        await asyncio.sleep(30)
        began = clock()
        assert timer.update(seconds)
        await until(lambda: moments)
        await asyncio.sleep(600)
        assert not timer.update(1)
        await asyncio.sleep(600)
    assert len(moments) == 1
    assert seconds - 0.005 <= moments[0] - began < seconds + 0.01


@virtual_time
async def test_a_timer_that_was_cancelled_cannot_be_moved() -> None:
    async with serving(Recorder()) as server:
        timer = server.set_timer(60, lambda: pytest.fail("it was cancelled"))
        timer.cancel()
        assert not timer.update(1)
        await asyncio.sleep(600)


@virtual_time
async def test_moving_a_timer_that_repeats_changes_its_period() -> None:
    clock = asyncio.get_running_loop().time
    moments: list[float] = []
    async with serving(Recorder()) as server:
        timer = server.set_timer(60, lambda: moments.append(clock()), repeat=True)
        assert timer.update(0.5)
        await until(lambda: len(moments) == 10)
    steps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert all(abs(step - 0.5) <= 2 * TICK for step in steps)


@virtual_time
@pytest.mark.parametrize("act", ["cancel", "update"])
async def test_a_timer_can_be_changed_by_another_one_that_is_due_at_the_same_moment(
    act: str,
) -> None:
    fired: list[str] = []
    async with serving(Recorder()) as server:

        def first() -> None:
            fired.append("first")
            if act == "cancel":
                assert second.cancel()
                # It may get what the other one has left.
                server.set_timer(30, lambda: fired.append("third"))
            else:
                assert second.update(60)

        server.set_timer(1, first)
        second = server.set_timer(1, lambda: fired.append("second"))
        await asyncio.sleep(10)
        assert fired == ["first"]
        await asyncio.sleep(600)
    assert fired == ["first", "third" if act == "cancel" else "second"]


async def test_timers_are_set_moved_and_cancelled_in_any_thread() -> None:
    fired: list[str] = []
    async with serving(Recorder()) as server:

        def use() -> None:
            moved = server.set_timer(60, lambda: fired.append("moved"))
            assert moved.update(0.001)
            cancelled = server.set_timer(60, lambda: fired.append("cancelled"), repeat=True)
            assert cancelled.update(30)
            assert cancelled.cancel()
            assert not cancelled.update(0)

        await asyncio.gather(*(asyncio.to_thread(use) for _ in range(4)))
        await until(lambda: len(fired) == 4)
    assert fired == ["moved"] * 4


@pytest.mark.parametrize("seconds", [0, 0.0001, -1, float("nan"), 1e12])
async def test_a_timer_does_not_repeat_without_a_pause(seconds: float) -> None:
    async with serving(Echo) as server, vespiary.connect(server.urls[0]) as client:
        for setter in (server, client):
            with pytest.raises(ValueError, match=r"repeats every 0\.001 to 1e9 seconds"):
                setter.set_timer(seconds, print, repeat=True)
        timer = server.set_timer(60, print, repeat=True)
        with pytest.raises(ValueError, match="repeats every"):
            timer.update(seconds)


async def test_a_timer_that_repeats_does_not_fill_the_queue_of_a_blocked_thread() -> None:
    released = threading.Event()
    fired: list[bool] = []

    class Blocks(vespiary.Handler):
        def on_open(self, connection: vespiary.Connection) -> None:
            connection.set_timer(0.001, self.tick, repeat=True)
            released.wait(30)

        def tick(self, connection: vespiary.Connection) -> None:
            fired.append(released.is_set())

    async with serving(Blocks, executor="threads") as server, vespiary.connect(server.urls[0]):
        await until(lambda: server.statistics().timers.timers_fired >= 20)
        count = server.statistics().timers.timers_fired
        released.set()
        await until(lambda: len(fired) >= 3)
        # One call waited, and not one for each time that the timer fired.
        assert len(fired) <= server.statistics().timers.timers_fired - count + 1


@virtual_time
async def test_what_timers_do_is_counted() -> None:
    recorder = Recorder()
    fired: list[object] = []
    async with serving(recorder) as server:
        before = server.statistics().timers
        timers = [server.set_timer(1, lambda: fired.append(1)) for _ in range(10)]
        timers[0].cancel()
        timers[0].cancel()
        timers[1].update(2)
        async with vespiary.connect(server.urls[0]):
            await until(lambda: recorder.connections)
            recorder.connections[0].set_timer(60, fired.append)
            timers_now = server.statistics().timers
            assert timers_now.timers_waiting - before.timers_waiting == 10
        await until(lambda: len(fired) == 9)
        await until(lambda: "close" in recorder.names)
        after = server.statistics().timers
    assert after.timers_set - before.timers_set == 11
    assert after.timers_fired - before.timers_fired == 9
    assert after.timers_cancelled - before.timers_cancelled == 2
    assert after.timers_moved - before.timers_moved == 1
    assert after.timers_waiting == before.timers_waiting
    assert after.late_seconds_mean <= after.late_seconds_max <= TICK
    # They are kept after the end.
    assert server.statistics().timers.timers_set == after.timers_set


@virtual_time
async def test_timers_fire_within_a_tick_under_load() -> None:
    choose = random.Random(5)
    count = 2_000
    fired: list[float] = []
    clock = asyncio.get_running_loop().time
    async with serving(Echo, TCP) as server:
        clients = [await vespiary.connect(server.urls[0]) for _ in range(10)]

        async def talk(client: vespiary.Connection) -> None:
            while len(fired) < count:
                client.send(bytes(1000))
                await client.receive()
                # Otherwise the simulation's time would hardly pass.
                await asyncio.sleep(0.0005)

        def note(due: float) -> Callable[[], None]:
            return lambda: fired.append(clock() - due)

        for _ in range(count):
            seconds = choose.uniform(0, 1)
            server.set_timer(seconds, note(clock() + seconds))
        timers = [server.set_timer(choose.uniform(0.5, 1), print) for _ in range(count)]
        for timer in timers:
            timer.cancel()
        await asyncio.gather(*(talk(client) for client in clients))
        for client in clients:
            await client.close()
        assert server.statistics().timers.late_seconds_max <= TICK
    assert len(fired) == count
    assert min(fired) >= -0.005
    assert max(fired) <= 0.005 + TICK


async def test_each_timer_has_the_context_in_which_it_was_set_for_itself() -> None:
    seen: list[str] = []

    def see() -> None:
        seen.append(NAME.get())
        NAME.set("leaked")

    async with serving(Recorder()) as server:
        for name in ("a", "a", "b", "a"):
            NAME.set(name)
            server.set_timer(0.001, see)
        NAME.set("c")
        for _ in range(3):
            server.set_timer(0.002, see)
        NAME.set("d")
        repeated = server.set_timer(0.01, see, repeat=True)
        NAME.set("later")
        await until(lambda: len(seen) == 10)
        repeated.cancel()
    assert sorted(seen[:7]) == ["a", "a", "a", "b", "c", "c", "c"]
    assert seen[7:] == ["d", "d", "d"]


@virtual_time
async def test_the_timers_of_a_server_end_with_it_and_those_of_others_do_not() -> None:
    fired: list[str] = []
    async with serving(Recorder(), TCP) as other:
        other.set_timer(5, functools.partial(fired.append, "other"))
        async with serving(Recorder(), TCP) as server:
            once = server.set_timer(1, functools.partial(fired.append, "once"))
            server.set_timer(1, functools.partial(fired.append, "repeated"), repeat=True)
            server.set_timer(2, functools.partial(fired.append, "more"))
            assert server.statistics().timers.timers_waiting == 4
        assert not once.cancel()
        await asyncio.sleep(10)
        assert fired == ["other"]
        assert other.statistics().timers.timers_waiting == 0


@virtual_time
async def test_a_server_that_starts_again_has_no_earlier_timers() -> None:
    server = vespiary.Server()
    server.add(Recorder(), TCP)
    fired: list[int] = []
    for number in range(3):
        async with server:
            server.set_timer(1, functools.partial(fired.append, number))
            server.set_timer(0.5, functools.partial(fired.append, number))
            await asyncio.sleep(0.6)
    await asyncio.sleep(10)
    assert fired == [0, 1, 2]


def test_once_the_loop_is_closed_a_timer_says_no_in_every_thread(driver: str) -> None:
    async def main() -> vespiary.Timer:
        async with serving(Recorder(), TCP) as server:
            return server.set_timer(100, print)

    timer = vespiary.run(main(), driver=driver)
    answers = [timer.update(1), timer.cancel()]
    thread = threading.Thread(target=lambda: answers.extend([timer.update(1), timer.cancel()]))
    thread.start()
    thread.join()
    assert answers == [False] * 4
