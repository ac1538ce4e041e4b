"""How long it takes to leave a connection whose peer reads nothing. In virtual time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

import vespiary

from .kit import serving, until, virtual_time

SECONDS = vespiary.Deadlines().close_seconds or 0.0
IN_TIME = (SECONDS - 0.1, SECONDS + 0.5)
AT_ONCE = (0.0, 0.5)
WHEN_NOTHING_IS_READ = (50.0, 65.0)
FLOOD = b"x" * 100_000

Use = Callable[[str, list[vespiary.Connection]], Awaitable[object]]


class Deaf(vespiary.Handler):
    def on_open(self, connection: vespiary.Connection) -> None:
        connection.pause_reading()


async def flood(connection: vespiary.Connection, used: list[vespiary.Connection]) -> None:
    used.append(connection)
    while True:
        await connection.send(FLOOD)


async def with_block(url: str, used: list[vespiary.Connection]) -> None:
    async with vespiary.connect(url) as connection:
        await flood(connection, used)


async def loop_over_connections(url: str, used: list[vespiary.Connection]) -> None:
    async for connection in vespiary.connect(url, reconnect=vespiary.Backoff()):
        await flood(connection, used)


async def stay(url: str, used: list[vespiary.Connection]) -> None:
    async def handler(connection: vespiary.Connection) -> None:
        await flood(connection, used)

    await vespiary.connect(url, handler, reconnect=vespiary.Backoff()).stay()


async def loop_with_a_handler(url: str, used: list[vespiary.Connection]) -> None:
    async def handler(connection: vespiary.Connection) -> None:
        await flood(connection, used)

    async for _ in vespiary.connect(url, handler, reconnect=vespiary.Backoff()):
        pass


USES = [with_block, loop_over_connections, stay, loop_with_a_handler]


async def leave(use: Use, *cancels_after: float) -> tuple[float, float]:
    """Use a connection, and cancel that; the seconds until the use and the connection ended."""
    loop = asyncio.get_running_loop()
    used: list[vespiary.Connection] = []
    async with serving(Deaf) as server:
        task = asyncio.ensure_future(use(server.urls[0], used))
        await until(lambda: used and used[0].queued_bytes)
        began = loop.time()
        for seconds in cancels_after:
            loop.call_later(seconds, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        left = loop.time() - began
        await used[0].wait_closed()
        ended = loop.time() - began
        await server.stop(0)
    return left, ended


def is_within(seconds: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= seconds <= bounds[1]


@virtual_time
@pytest.mark.parametrize("use", USES)
async def test_a_cancel_leaves_a_peer_that_reads_nothing_within_close_seconds(use: Use) -> None:
    left, ended = await leave(use, 0)
    assert is_within(ended, IN_TIME)
    # Python does not let a loop wait for the end of what it is over.
    assert is_within(left, AT_ONCE if use is loop_over_connections else IN_TIME)


@virtual_time
@pytest.mark.parametrize("use", [with_block, stay, loop_with_a_handler])
async def test_a_second_cancel_leaves_it_at_once(use: Use) -> None:
    left, ended = await leave(use, 0, 1)
    assert is_within(left, (1.0, 1.5))
    assert is_within(ended, (1.0, 1.5))


async def fill(connection: vespiary.Connection) -> None:
    """Send until something waits."""
    while connection.queued_bytes == 0:
        connection.send(FLOOD)
        await asyncio.sleep(0)


@virtual_time
async def test_an_exception_in_the_block_leaves_it_within_close_seconds() -> None:
    async def use(url: str) -> None:
        async with vespiary.connect(url) as connection:
            await fill(connection)
            raise ZeroDivisionError

    loop = asyncio.get_running_loop()
    async with serving(Deaf) as server:
        began = loop.time()
        with pytest.raises(ZeroDivisionError):
            await use(server.urls[0])
        assert is_within(loop.time() - began, IN_TIME)
        await server.stop(0)


@virtual_time
async def test_the_end_of_the_block_waits_for_the_peer_to_read() -> None:
    loop = asyncio.get_running_loop()
    async with serving(Deaf) as server:
        async with vespiary.connect(server.urls[0]) as connection:
            await fill(connection)
            began = loop.time()
        assert is_within(loop.time() - began, WHEN_NOTHING_IS_READ)
        await server.stop(0)


@virtual_time
async def test_a_cancel_bounds_the_end_of_the_block() -> None:
    loop = asyncio.get_running_loop()

    async def use(url: str) -> None:
        async with vespiary.connect(url) as connection:
            await fill(connection)
            loop.call_later(20, task.cancel)

    async with serving(Deaf) as server:
        began = loop.time()
        task = asyncio.ensure_future(use(server.urls[0]))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert is_within(loop.time() - began - 20, IN_TIME)
        await server.stop(0)


@virtual_time
async def test_a_peer_that_reads_slowly_gets_everything_at_the_end_of_the_block() -> None:
    received: list[int] = []

    async def slow(connection: vespiary.Connection) -> None:
        async for message in connection:
            received.append(len(message))
            await asyncio.sleep(2)

    limits = vespiary.Limits(inbox_messages_max=1)
    async with (
        serving(slow, limits=limits) as server,
        vespiary.connect(server.urls[0]) as connection,
    ):
        for _ in range(20):
            await connection.send(FLOOD)
    assert received == [len(FLOOD)] * 20
