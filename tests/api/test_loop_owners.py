"""Who may run and hold a loop: threads, forked children, the garbage collector."""

import asyncio
import os
import socket
import threading
import warnings
import weakref
from collections.abc import Callable

import pytest

import vespiary
from vespiary.loop import Loop

from .kit import Echo, are_gone, serving, turns, until, wait_until


def in_a_thread(function: Callable[[], object]) -> None:
    """Call it in a thread of its own, and raise what it raises."""
    failures: list[BaseException] = []

    def call() -> None:
        try:
            function()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


async def exchange() -> None:
    async with serving(Echo()) as server, vespiary.connect(server.urls[0]) as connection:
        connection.send("x")
        assert await connection.receive() == "x"
    await until(lambda: server.urls)


def test_a_loop_is_made_in_one_thread_run_in_others_and_closed_in_a_third(driver: str) -> None:
    loop = Loop(driver=driver)
    calls: list[int] = []
    reading, writing = os.pipe()
    os.write(writing, b"x")
    loop.add_reader(reading, calls.append, 1)
    in_a_thread(lambda: loop.run_until_complete(turns()))
    assert calls
    loop.remove_reader(reading)
    for _ in range(3):
        in_a_thread(lambda: loop.run_until_complete(exchange()))
    loop.run_until_complete(exchange())
    in_a_thread(loop.close)
    os.close(reading)
    os.close(writing)


def test_a_loop_with_servers_stays_in_its_thread(driver: str) -> None:
    loop = Loop(driver=driver)
    server = vespiary.Server()
    server.add(Echo, "tcp://127.0.0.1:0")
    loop.run_until_complete(server.start())
    with pytest.raises(RuntimeError, match="thread"):
        in_a_thread(lambda: loop.run_until_complete(asyncio.sleep(0)))
    loop.run_until_complete(server.stop())
    loop.close()


def test_a_loop_that_was_never_closed_is_warned_of_and_collected(driver: str) -> None:
    loop = Loop(driver=driver)
    loop.run_until_complete(exchange())
    gone = weakref.ref(loop)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del loop
        # The thread that resolved an address may hold it for another moment.
        wait_until(lambda: are_gone([gone]))
    assert any("unclosed event loop" in str(warning.message) for warning in caught)


def in_a_child(
    function: Callable[[], object], meanwhile: Callable[[], object] = lambda: None
) -> int:
    """Call it in a forked child, which leaves at once; its exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # From 3.12 on: there may be other threads.
        child = os.fork()
    if child == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    meanwhile()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def test_a_forked_child_may_touch_its_parents_loop_and_make_its_own(driver: str) -> None:
    loop = Loop(driver=driver)
    server = vespiary.Server()
    server.add(Echo, "tcp://127.0.0.1:0")
    loop.run_until_complete(server.start())
    reading, writing = os.pipe()

    def touch() -> None:
        loop.add_reader(reading, print)
        loop.remove_reader(reading)
        loop.run_until_complete(asyncio.sleep(0.01))
        own = Loop(driver=driver)
        own.run_until_complete(exchange())
        own.close()
        loop.close()

    assert in_a_child(touch) == 0

    async def still_serves() -> None:
        async with vespiary.connect(server.urls[0]) as connection:
            connection.send(b"x")
            assert await connection.receive() == b"x"

    loop.run_until_complete(still_serves())
    loop.run_until_complete(server.stop())
    loop.close()
    os.close(reading)
    os.close(writing)


def test_a_forked_child_does_not_keep_the_address_of_a_listener(driver: str) -> None:
    loop = Loop(driver=driver)
    server = vespiary.Server()
    server.add(Echo, "tcp://127.0.0.1:0")
    loop.run_until_complete(server.start())
    port = int(server.urls[0].rpartition(":")[2].rstrip("/"))
    waiting, finished = os.pipe()
    started, starts = os.pipe()

    def wait() -> None:
        os.close(finished)
        os.write(starts, b"x")
        os.read(waiting, 1)

    def rebind() -> None:
        os.read(started, 1)
        loop.run_until_complete(server.stop())
        socket.create_server(("127.0.0.1", port)).close()
        loop.close()
        for descriptor in (waiting, finished, started, starts):
            os.close(descriptor)

    assert in_a_child(wait, meanwhile=rebind) == 0
