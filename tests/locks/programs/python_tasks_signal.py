# expect: nothing
"""A callback releases the lock, so it counts as a notification."""

import asyncio

signal, a = asyncio.Lock(), asyncio.Lock()


async def paced() -> None:
    await signal.acquire()
    asyncio.get_running_loop().call_later(0.7, signal.release)
    async with a:
        pass


async def main() -> None:
    # The second waits longer than a circle would, for a lock whose owner has ended.
    await asyncio.gather(*(asyncio.create_task(paced()) for _ in range(2)))
    async with a:
        await signal.acquire()


asyncio.run(main())
