# expect: deadlock
"""A task takes a lock again that it holds: asyncio's are not recursive."""

import asyncio


async def inner(lock: asyncio.Lock) -> None:
    async with lock:
        pass


async def main() -> None:
    lock = asyncio.Lock()
    async with lock:
        await inner(lock)


asyncio.run(main())
