"""A task that is cancelled before its first step ends as one that is cancelled in it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from vespiary._first_step import Begins


async def gathers(future: asyncio.Future[None]) -> None:
    await asyncio.gather(future)


async def awaits(future: asyncio.Future[None]) -> None:
    await future


async def waits_for(future: asyncio.Future[None]) -> None:
    await asyncio.wait_for(future, 3600)


@pytest.mark.parametrize("waits", [gathers, awaits, waits_for])
def test_what_the_first_step_waits_for_is_cancelled(
    waits: Callable[[asyncio.Future[None]], Awaitable[None]],
) -> None:
    reached: list[str] = []

    async def work(future: asyncio.Future[None]) -> None:
        try:
            await waits(future)
        except asyncio.CancelledError as error:
            reached.append(str(error))
            raise

    async def main() -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        task = loop.create_task(Begins(work(future)))
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert future.cancelled()
        assert len(reached) == 1

    asyncio.run(main())


def test_a_cancellation_reaches_a_first_step_that_only_yields() -> None:
    async def work() -> str:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            return "cancelled"
        return "ran on"

    async def main() -> None:
        task = asyncio.get_running_loop().create_task(Begins(work()))
        task.cancel()
        assert await task == "cancelled"

    asyncio.run(main())
