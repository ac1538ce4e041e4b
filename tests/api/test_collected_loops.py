"""A loop that nobody has any more is collected with all that ran in it, in whatever thread."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import vespiary

from .kit import WS, are_gone, forever, open_descriptors, turns, until

Waits = Callable[[vespiary.Connection], Awaitable[object]]


async def for_messages(connection: vespiary.Connection) -> None:
    async for _ in connection:
        pass


async def for_a_timer(connection: vespiary.Connection) -> None:
    fired = asyncio.Event()
    connection.set_timer(3600, lambda _: fired.set())
    await fired.wait()


async def for_a_turn_of_asyncio(_: vespiary.Connection) -> None:
    await forever()


async def for_room(connection: vespiary.Connection) -> None:
    while True:
        await connection.send(bytes(1 << 20))


WAITS: dict[str, Waits] = {
    "receive": lambda connection: connection.receive(),
    "receive within": lambda connection: connection.receive(timeout=3600),
    "async for": for_messages,
    "wait_closed": lambda connection: connection.wait_closed(),
    "close": lambda connection: connection.close(),
    "ping": lambda connection: connection.ping(),
    "drain": for_room,
    "set_timer": for_a_timer,
    "sleep": for_a_turn_of_asyncio,
}

Gone = dict[str, "weakref.ref[Any]"]


def left_behind(loop: asyncio.AbstractEventLoop, waits: Waits) -> Gone:
    """A loop with a server, and a coroutine that waits there."""
    gone: Gone = {"loop": weakref.ref(loop)}

    async def handler(connection: vespiary.Connection) -> None:
        # The peer reads nothing any more, and so answers nothing.
        await connection.receive()
        gone["connection"] = weakref.ref(connection)
        task = asyncio.current_task()
        assert task is not None
        gone["task"] = weakref.ref(task)
        await waits(connection)

    async def main() -> None:
        server = vespiary.Server(signals=False)
        server.add(handler, WS)
        gone["server"] = weakref.ref(server)
        await server.start()
        client = await vespiary.connect(server.urls[0])
        gone["client"] = weakref.ref(client)
        client.pause_reading()
        client.send("now wait")
        await until(lambda: "task" in gone)
        await turns()

    loop.run_until_complete(main())
    return gone


def collect() -> None:
    """Finalizers close a loop; what that has set free goes in the second run."""
    for _ in range(2):
        gc.collect()


CASES = [(waits, True, "own") for waits in WAITS]
CASES += [("receive", in_thread, "guest") for in_thread in (True, False)]
CASES += [("receive", False, "own")]


@pytest.mark.parametrize(("waits", "in_thread", "kind"), CASES)
@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "dropped"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_is_collected_with_the_coroutine_that_waits_in_it(
    driver: str,
    waits: str,
    in_thread: bool,
    kind: str,
    is_closed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VESPIARY_DRIVER", driver)
    found: list[Gone] = []

    def run() -> None:
        loop = vespiary.loop.new_event_loop() if kind == "own" else asyncio.new_event_loop()
        found.append(left_behind(loop, WAITS[waits]))
        if is_closed:
            loop.close()

    collect()
    before = len(open_descriptors())
    if in_thread:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    else:
        run()
    collect()
    (gone,) = found
    assert [name for name, reference in gone.items() if reference() is not None] == []
    assert len(open_descriptors()) <= before


@pytest.mark.parametrize("make", ["ping", "close"])
async def test_circles_through_what_is_awaited_are_collected(make: str) -> None:
    gone: list[weakref.ref[Any]] = []

    async def handler(connection: vespiary.Connection) -> None:
        connection.data = [connection.ping() if make == "ping" else connection.close()]
        connection.data.append(connection)
        gone.append(weakref.ref(connection))
        await connection.wait_closed()

    server = vespiary.Server(signals=False)
    server.add(handler, WS)
    async with server:
        client = await vespiary.connect(server.urls[0])
        await until(lambda: gone)
        client.abort()
        del client
        await until(lambda: server.statistics().total.connections_open == 0)
        await until(lambda: are_gone(gone))


async def test_a_message_that_waits_costs_its_receiver_no_new_object() -> None:
    async def handler(connection: vespiary.Connection) -> None:
        for _ in range(3):
            connection.send(str(id(connection.receive())))
            await connection.receive()
        first, second = connection.receive(), connection.receive()
        connection.send("the same" if first is second else "two objects")
        await first

    server = vespiary.Server(signals=False)
    server.add(handler, WS)
    async with server, vespiary.connect(server.urls[0]) as client:
        heard = set()
        for _ in range(3):
            heard.add(await client.receive())
            client.send("go on")
        assert len(heard) == 1
        assert await client.receive() == "two objects"
