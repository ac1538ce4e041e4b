# expect: inversion
"""One order is made beside the task of the other, by the task that has made it."""

import asyncio

a, b = asyncio.Lock(), asyncio.Lock()


async def other() -> None:
    async with b, a:
        pass


async def main() -> None:
    # Earlier orders are before the task; this one is not.
    async with a:
        pass
    task = asyncio.create_task(other())
    await asyncio.sleep(0.01)
    async with a, b:
        pass
    await task


asyncio.run(main())
