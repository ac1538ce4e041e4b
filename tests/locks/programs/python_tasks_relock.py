# expect: deadlock
"""A task takes an asyncio lock that it already holds."""

import asyncio


async def inner(lock: asyncio.Lock) -> None:
    async with lock:
        pass


async def main() -> None:
    lock = asyncio.Lock()
    async with lock:
        await inner(lock)


asyncio.run(main())
