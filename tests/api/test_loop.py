"""The loop as asyncio's own: order, cancellation, descriptors, signals, shutting down.

What CPython's test_events.py and test_base_events.py ask of a loop, asked of this one.
"""

import asyncio
import contextlib
import logging
import os
import selectors
import socket
import threading
import time
import weakref
from typing import Any

import pytest

import vespiary
from vespiary.loop import Loop, new_event_loop

from .kit import Echo, echo, forever, open_descriptors, serving, until


def test_callbacks_run_in_the_order_in_which_they_were_asked_for(loop: Loop) -> None:
    calls: list[object] = []
    for number in range(100):
        loop.call_soon(calls.append, number)
    loop.call_later(0.02, calls.append, "late")
    loop.call_later(0.01, calls.append, "early")
    loop.call_at(loop.time(), calls.append, "now")
    loop.call_later(0.03, loop.stop)
    loop.run_forever()
    assert calls == [*range(100), "now", "early", "late"]


def test_call_later_is_never_early_and_hardly_late(loop: Loop) -> None:
    for seconds in (0.0, 0.0001, 0.001, 0.0104, 0.05):
        began = loop.time()
        loop.call_later(seconds, loop.stop)
        loop.run_forever()
        took = loop.time() - began
        # asyncio itself rounds to the clock's resolution.
        assert seconds - 0.0011 <= took < seconds + 0.25


def test_cancelled_callbacks_do_not_run(loop: Loop) -> None:
    calls: list[str] = []
    loop.call_soon(calls.append, "no").cancel()
    handles = [loop.call_later(0.01, calls.append, "no") for _ in range(200)]
    for handle in handles:
        handle.cancel()
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    assert calls == []


def test_a_callback_may_ask_for_another_without_end(loop: Loop) -> None:
    count = 0

    def again() -> None:
        nonlocal count
        count += 1
        if count < 10_000:
            loop.call_soon(again)
        else:
            loop.stop()

    again()
    loop.run_forever()
    assert count == 10_000


def test_stop_before_run_forever_runs_once(loop: Loop) -> None:
    calls: list[str] = []
    loop.stop()
    loop.call_soon(calls.append, "once")
    loop.run_forever()
    assert calls == ["once"]


def test_a_loop_may_run_again_and_again(loop: Loop) -> None:
    for number in range(50):
        assert loop.run_until_complete(asyncio.sleep(0, number)) == number


def test_call_soon_threadsafe_wakes_a_sleeping_loop(loop: Loop) -> None:
    def wake() -> None:
        time.sleep(0.05)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=wake)
    began = time.monotonic()
    thread.start()
    loop.call_later(10, loop.stop)
    loop.run_forever()
    thread.join()
    assert time.monotonic() - began < 5


def test_call_soon_threadsafe_from_many_threads_loses_nothing(loop: Loop) -> None:
    calls: list[int] = []

    def call(name: int) -> None:
        for number in range(500):
            loop.call_soon_threadsafe(calls.append, name * 1000 + number)

    async def wait() -> None:
        await asyncio.gather(*(asyncio.to_thread(call, name) for name in range(4)))
        await until(lambda: len(calls) == 2000)

    loop.run_until_complete(wait())
    assert len(calls) == 2000
    for name in range(4):
        mine = [number for number in calls if number // 1000 == name]
        assert mine == sorted(mine)


def test_a_closed_loop_refuses_work(driver: str) -> None:
    made = Loop(driver=driver)
    made.close()
    made.close()
    assert made.is_closed()
    with pytest.raises(RuntimeError, match="closed"):
        made.call_soon(print)
    with pytest.raises(RuntimeError, match="closed"):
        made.run_forever()


def test_a_loop_that_is_dropped_goes_away(driver: str) -> None:
    made = Loop(driver=driver)
    made.run_until_complete(asyncio.sleep(0))
    made.close()
    gone = weakref.ref(made)
    del made
    assert gone() is None


def test_many_loops_leave_no_descriptor_behind(driver: str) -> None:
    Loop(driver=driver).close()
    before = open_descriptors()
    for _ in range(30):
        with asyncio.Runner(loop_factory=lambda: Loop(driver=driver)) as runner:
            runner.run(asyncio.sleep(0))
    assert open_descriptors() == before


def test_new_event_loop_is_a_factory_for_asyncio(
    driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VESPIARY_DRIVER", driver)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        running = runner.get_loop()
        assert isinstance(running, Loop)
        assert running.core.driver == driver


def test_readers_and_writers_are_called_while_their_descriptor_is_ready(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    received = b""
    writable = 0

    def read() -> None:
        nonlocal received
        received += ours.recv(3)
        if len(received) == 9:
            loop.stop()

    def write() -> None:
        nonlocal writable
        writable += 1
        if writable == 3:
            assert loop.remove_writer(ours)

    loop.add_reader(ours, read)
    loop.add_writer(ours, write)
    theirs.send(b"abcdefghi")
    loop.run_forever()
    assert received == b"abcdefghi"
    assert writable == 3
    assert loop.remove_reader(ours)
    assert not loop.remove_reader(ours)
    theirs.send(b"x")
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    assert received == b"abcdefghi"
    ours.close()
    theirs.close()


def test_a_peers_end_makes_a_descriptor_readable(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    loop.add_reader(ours, loop.stop)
    theirs.close()
    loop.run_forever()
    assert ours.recv(1) == b""
    loop.remove_reader(ours)
    ours.close()


def test_a_pipe_whose_reader_is_gone_makes_its_writer_ready(loop: Loop) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writing, bytes(4096)):
            pass
    loop.add_writer(writing, loop.stop)
    loop.call_later(0.01, os.close, reading)
    loop.run_forever()
    with pytest.raises(BrokenPipeError):
        os.write(writing, b"x")
    loop.remove_writer(writing)
    os.close(writing)


def test_the_selector_keeps_the_contract_of_selectors(loop: Loop) -> None:
    selector = loop._selector
    ours, theirs = socket.socketpair()
    with pytest.raises(ValueError, match="events"):
        selector.register(ours, 0)
    with pytest.raises(ValueError, match="descriptor"):
        selector.register(-1, selectors.EVENT_READ)
    key = selector.register(ours, selectors.EVENT_READ, "data")
    assert (key.fileobj, key.fd, key.data) == (ours, ours.fileno(), "data")
    with pytest.raises(KeyError):
        selector.register(ours, selectors.EVENT_READ)
    assert selector.get_key(ours) == key
    assert ours.fileno() in selector.get_map()
    assert selector.modify(ours, selectors.EVENT_WRITE, "new").data == "new"
    assert selector.unregister(ours).data == "new"
    with pytest.raises(KeyError):
        selector.unregister(ours)
    with pytest.raises(KeyError):
        selector.modify(ours, selectors.EVENT_READ)
    ours.close()
    theirs.close()


def test_run_cancels_what_is_left_and_closes_generators(driver: str) -> None:
    ends: list[str] = []

    async def endless() -> None:
        try:
            await forever()
        finally:
            ends.append("cancelled")

    async def numbers() -> Any:
        try:
            yield 1
            yield 2
        finally:
            ends.append("generator closed")

    generators = []

    async def main() -> None:
        generators.append(numbers())
        asyncio.ensure_future(endless())  # noqa: RUF006 - It is left alone on purpose.
        assert await anext(generators[0]) == 1

    vespiary.run(main(), driver=driver)
    assert ends == ["cancelled", "generator closed"]


def test_run_returns_and_raises_what_its_coroutine_does(driver: str) -> None:
    async def answer() -> int:
        return 42

    async def fail() -> None:
        raise ZeroDivisionError

    assert vespiary.run(answer(), driver=driver) == 42
    with pytest.raises(ZeroDivisionError):
        vespiary.run(fail(), driver=driver)


async def test_run_within_a_running_loop_is_refused() -> None:
    main = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="await the coroutine instead"):
        vespiary.run(main)
    main.close()


def test_exceptions_of_callbacks_go_to_the_exception_handler(loop: Loop) -> None:
    told: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: told.append(context))
    loop.call_soon(lambda: 1 / 0)
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert isinstance(told[0]["exception"], ZeroDivisionError)


def test_the_loop_sleeps_when_there_is_nothing_to_do(loop: Loop) -> None:
    began = time.process_time()
    loop.call_later(0.5, loop.stop)
    loop.run_forever()
    assert time.process_time() - began < 0.2


def test_an_idle_server_uses_no_time(driver: str) -> None:
    async def main() -> float:
        async with serving(Echo) as server, vespiary.connect(server.urls[0]):
            await asyncio.sleep(0.05)
            began = time.process_time()
            await asyncio.sleep(0.5)
            return time.process_time() - began

    assert vespiary.run(main(), driver=driver) < 0.2


def test_timers_fire_beside_a_connection_that_never_rests(driver: str) -> None:
    """Asyncio's callbacks get their turns while native completions keep coming."""

    async def main() -> None:
        async with serving(Echo) as server:
            pumping = True

            class Pump(vespiary.Handler):
                def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
                    if pumping:
                        connection.send(message)

            clients = [await vespiary.connect(server.urls[0], Pump()) for _ in range(8)]
            for client in clients:
                client.send(b"ball")
            async with asyncio.timeout(20):
                for _ in range(20):
                    await asyncio.sleep(0.01)
            pumping = False
            for client in clients:
                client.close()

    vespiary.run(main(), driver=driver)


def test_debug_mode_is_quiet_with_connections(
    driver: str, whole_log: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_debug(True)
        async with serving(echo) as server, vespiary.connect(server.urls[0]) as client:
            for number in range(50):
                client.send(str(number))
                assert await client.receive() == str(number)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.receive(), 0.01)

    vespiary.run(main(), driver=driver)
    assert [it for it in whole_log.records if it.levelno >= logging.ERROR] == []


def test_a_loop_in_a_thread_of_its_own_serves(driver: str) -> None:
    started = threading.Event()
    facts: dict[str, Any] = {}

    async def main() -> None:
        facts["loop"] = asyncio.get_running_loop()
        facts["over"] = asyncio.Event()
        async with serving(Echo, "tcp://127.0.0.1:0") as server:
            facts["url"] = server.urls[0]
            started.set()
            await facts["over"].wait()

    thread = threading.Thread(target=lambda: vespiary.run(main(), driver=driver))
    thread.start()
    assert started.wait(5)
    port = int(facts["url"].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
    facts["loop"].call_soon_threadsafe(facts["over"].set)
    thread.join(5)
    assert not thread.is_alive()


def test_spinning_serves_and_still_sleeps_in_the_end(driver: str) -> None:
    async def main() -> None:
        async with serving(Echo) as server, vespiary.connect(server.urls[0]) as client:
            for _ in range(100):
                client.send("x")
                assert await client.receive() == "x"

    vespiary.run(main(), driver=driver, spin_microseconds=50)


def test_closing_the_loop_ends_connections_that_are_left(driver: str) -> None:
    """Anyone who forgets to close gets a reset, and nothing hangs."""
    peers: list[socket.socket] = []
    left: list[vespiary.Connection] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"

        async def main() -> None:
            left.append(await vespiary.connect(url))
            peers.append((await asyncio.to_thread(listener.accept))[0])

        vespiary.run(main(), driver=driver)
    (peer,) = peers
    peer.settimeout(5)
    with contextlib.suppress(ConnectionResetError):
        assert peer.recv(1) == b""
    peer.close()


def test_run_once_outside_of_run_forever_is_one_iteration(loop: Loop) -> None:
    calls: list[str] = []
    loop.call_soon(lambda: loop.call_later(3600, calls.append, "late"))
    loop.call_soon(calls.append, "soon")
    loop._run_once()
    assert calls == ["soon"]


def test_run_once_within_a_callback_is_one_iteration(loop: Loop) -> None:
    calls: list[str] = []

    def outer() -> None:
        loop.call_soon(calls.append, "inner")
        loop._run_once()
        calls.append("outer")
        loop.stop()

    loop.call_soon(outer)
    loop.run_forever()
    assert calls == ["inner", "outer"]


def test_an_iteration_of_a_subclass_is_called_for_each(driver: str) -> None:
    class Counting(Loop):
        iterations = 0

        def _run_once(self) -> None:
            self.iterations += 1
            super()._run_once()

    loop = Counting(driver=driver)
    for seconds in (0.0, 0.001, 0.002):
        loop.call_later(seconds, lambda: None)
    loop.call_later(0.003, loop.stop)
    loop.run_forever()
    loop.close()
    assert loop.iterations > 1


def test_a_loop_can_run_again_after_a_callback_that_ended_it(loop: Loop) -> None:
    def leave() -> None:
        raise KeyboardInterrupt

    for _ in range(3):
        loop.call_soon(leave)
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        loop.call_soon(loop.stop)
        loop.run_forever()


def test_tasks_and_futures_are_asyncios_own(loop: Loop) -> None:
    async def answer() -> int:
        return 42

    task = loop.create_task(answer())
    assert type(task) is asyncio.Task
    assert type(loop.create_future()) is asyncio.Future
    assert loop.create_future().get_loop() is loop
    assert loop.run_until_complete(task) == 42

    made: list[asyncio.Task[Any]] = []

    def factory(loop: Any, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(asyncio.Task(coroutine, loop=loop, **options))
        return made[-1]

    loop.set_task_factory(factory)
    task = loop.create_task(answer())
    assert made == [task]
    assert loop.run_until_complete(task) == 42
    named = loop.create_task(answer(), name="named")
    assert named.get_name() == "named"
    loop.run_until_complete(named)


def test_debug_mode_is_the_one_that_was_set(loop: Loop) -> None:
    before = loop.get_debug()
    for is_debug in (True, False, True):
        loop.set_debug(is_debug)
        assert loop.get_debug() is is_debug
    loop.set_debug(before)


def test_the_time_of_the_loop_is_the_monotonic_one(loop: Loop) -> None:
    before = time.monotonic()
    assert before <= loop.time() <= time.monotonic()
