"""Client connections that a program drops without closing them: closed, with a ResourceWarning."""

import asyncio
import gc
import threading
import warnings
import weakref
from collections.abc import Iterator

import pytest

import vespiary

from .kit import TCP, WS, Echo, serving, until


@pytest.fixture(autouse=True)
def caught() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def dropped(caught: list[warnings.WarningMessage]) -> int:
    texts = [str(one.message) for one in caught if one.category is ResourceWarning]
    assert all("was dropped before it was closed" in text for text in texts)
    return len(texts)


def connections_open(server: vespiary.Server) -> int:
    return server.statistics().total.connections_open


@pytest.mark.parametrize("url", [WS, TCP])
async def test_a_dropped_connection_is_closed_cleanly_with_a_warning(
    url: str, caught: list[warnings.WarningMessage]
) -> None:
    reasons: list[vespiary.CloseReason] = []

    class Remembers(vespiary.Handler):
        def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
            reasons.append(reason)

    async with serving(Remembers, url) as server:
        for _ in range(10):
            await vespiary.connect(server.urls[0])
        await until(lambda: len(reasons) == 10)
    assert dropped(caught) == 10
    assert {(reason.side, reason.kind) for reason in reasons} == {("remote", "closed")}


async def test_messages_and_iteration_before_it_change_nothing(
    caught: list[warnings.WarningMessage],
) -> None:
    async with serving(Echo) as server:

        async def use() -> weakref.ref[vespiary.Connection]:
            connection = await vespiary.connect(server.urls[0])
            connection.send("a")
            assert await connection.receive() == "a"
            connection.send("b")
            async for message in connection:
                assert message == "b"
                break
            await connection.ping()
            await connection.drain()
            connection.data = connection
            return weakref.ref(connection)

        used = await use()
        gc.collect()
        await until(lambda: connections_open(server) == 0)
        await until(lambda: used() is None)
    assert dropped(caught) == 1


async def test_a_task_that_waits_keeps_its_connection(
    caught: list[warnings.WarningMessage],
) -> None:
    async with serving(Echo) as server:
        heard: list[object] = []

        async def listen() -> None:
            connection = await vespiary.connect(server.urls[0])
            others.append(weakref.ref(connection))
            async for message in connection:
                heard.append(message)
                gc.collect()
                if message == "end":
                    return

        others: list[weakref.ref[vespiary.Connection]] = []
        # Nothing but the connection refers to the task.
        asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(listen()))
        await until(lambda: others)
        for message in ("1", "2", "end"):
            gc.collect()
            connection = others[0]()
            assert connection is not None
            connection.send(message)
            del connection
            await until(lambda: heard[-1:] == [message])  # noqa: B023
        # What it iterated with refers to it, and it to that.
        await until(lambda: not asyncio.all_tasks() - {asyncio.current_task()})
        gc.collect()
        await until(lambda: connections_open(server) == 0)
    assert dropped(caught) == 1
    assert heard == ["1", "2", "end"]


async def test_a_task_that_drains_keeps_its_connection(
    caught: list[warnings.WarningMessage],
) -> None:
    class Slow(vespiary.Handler):
        def on_open(self, connection: vespiary.Connection) -> None:
            connection.pause_reading()
            peers.append(connection)

    peers: list[vespiary.Connection] = []
    drained: list[str] = []
    async with serving(Slow, TCP) as server:

        async def fill() -> None:
            connection = await vespiary.connect(server.urls[0])
            for _ in range(100):
                connection.send(bytes(100_000))
            await connection.drain()
            drained.append("drained")

        waiting = weakref.ref(asyncio.ensure_future(fill()))
        await until(lambda: peers)
        gc.collect()
        assert waiting() is not None
        peers[0].resume_reading()
        await until(lambda: drained)
        await until(lambda: connections_open(server) == 0)
    assert dropped(caught) == 1


async def test_one_that_is_dropped_in_another_thread_is_closed_too(
    caught: list[warnings.WarningMessage],
) -> None:
    async with serving(Echo) as server:
        held = [await vespiary.connect(server.urls[0])]
        thread = threading.Thread(target=held.clear)
        thread.start()
        await until(lambda: connections_open(server) == 0)
        thread.join()
    assert dropped(caught) == 1


async def test_one_that_was_closed_or_has_a_handler_is_left_alone(
    caught: list[warnings.WarningMessage],
) -> None:
    async with serving(Echo) as server:
        connection = await vespiary.connect(server.urls[0])
        await connection.close()
        connection = await vespiary.connect(server.urls[0])
        connection.abort()
        del connection
        handled = weakref.ref(await vespiary.connect(server.urls[0], vespiary.Handler()))
        gc.collect()
        kept = handled()
        assert kept is not None
        assert kept.is_open
        await kept.close()
    assert dropped(caught) == 0


async def test_its_end_by_the_peer_leaves_nothing(caught: list[warnings.WarningMessage]) -> None:
    class Leaves(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: str) -> None:
            connection.close()

    async with serving(Leaves) as server:
        connection = await vespiary.connect(server.urls[0])
        connection.send("go")
        await connection.wait_closed()
        gone = weakref.ref(connection)
        del connection
        gc.collect()
        assert gone() is None
    assert dropped(caught) == 0


async def test_a_loop_over_connections_that_an_exception_ends_closes_without_a_warning(
    caught: list[warnings.WarningMessage],
) -> None:
    async with serving(Echo) as server:

        async def use() -> None:
            async for connection in vespiary.connect(server.urls[0]):
                connection.data = connection
                raise ZeroDivisionError

        for _ in range(5):
            with pytest.raises(ZeroDivisionError):
                await use()
            gc.collect()
        await until(lambda: connections_open(server) == 0)
    assert dropped(caught) == 0


async def test_a_wait_for_the_end_keeps_the_connection(
    caught: list[warnings.WarningMessage],
) -> None:
    async def goodbye(connection: vespiary.Connection) -> None:
        await going.wait()

    going = asyncio.Event()
    async with serving(goodbye) as server:
        asyncio.get_running_loop().call_later(0.05, going.set)
        reason = await (await vespiary.connect(server.urls[0])).wait_closed()
        assert (reason.side, reason.code) == ("remote", 1000)
    assert dropped(caught) == 0
