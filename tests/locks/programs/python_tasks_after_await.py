# expect: nothing
"""One order ends before the other begins: a task waited for the other, in all ways."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

Work = Callable[[], Coroutine[Any, Any, None]]


async def awaited(work: Work) -> None:
    await asyncio.create_task(work())


async def awaited_after_its_end(work: Work) -> None:
    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    await task


async def gathered(work: Work) -> None:
    await asyncio.gather(work(), asyncio.sleep(0))


async def grouped(work: Work) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(work())


async def waited(work: Work) -> None:
    await asyncio.wait([asyncio.create_task(work())])


async def limited(work: Work) -> None:
    await asyncio.wait_for(asyncio.create_task(work()), 5)


async def shielded(work: Work) -> None:
    await asyncio.shield(work())


async def cancelled(work: Work) -> None:
    async def endless() -> None:
        await work()
        await asyncio.sleep(60)

    task = asyncio.create_task(endless())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def within(work: Work) -> None:
    # Waited for by one that is waited for.
    await asyncio.create_task(awaited(work))


async def orders(wait: Callable[[Work], Awaitable[None]]) -> None:
    a, b = asyncio.Lock(), asyncio.Lock()

    async def one() -> None:
        async with a, b:
            await asyncio.sleep(0)

    async def other() -> None:
        async with b, a:
            await asyncio.sleep(0)

    await wait(one)
    async with b, a:
        pass
    # And what it makes afterwards is later too.
    await wait(other)


async def main() -> None:
    for wait in (
        awaited,
        awaited_after_its_end,
        gathered,
        grouped,
        waited,
        limited,
        shielded,
        cancelled,
        within,
    ):
        await orders(wait)


asyncio.run(main())
