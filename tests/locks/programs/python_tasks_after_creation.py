# expect: nothing
"""One order ends before the task of the other order is created."""

import asyncio

a, b = asyncio.Lock(), asyncio.Lock()


async def between() -> None:
    await asyncio.create_task(other())


async def other() -> None:
    async with b, a:
        pass


async def main() -> None:
    async with a, b:
        pass
    # The one that makes it takes no lock itself.
    await asyncio.gather(asyncio.create_task(between()), asyncio.sleep(0))


asyncio.run(main())
