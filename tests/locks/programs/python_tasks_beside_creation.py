# expect: inversion
"""A task takes the locks after it has created the other task, so the orders can overlap."""

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
