# source: https://github.com/python/asyncio/issues/439
# hang: deadlock, repaired: nothing
"""A coroutine holds an asyncio.Lock and awaits another coroutine that wants it."""

import asyncio

from forms import repaired


async def child(mutex: asyncio.Lock) -> None:
    async with mutex:
        pass


async def parent() -> None:
    mutex = asyncio.Lock()
    async with mutex:
        if not repaired:
            await child(mutex)
    await child(mutex)


asyncio.run(parent())
