# expect: deadlock
"""A task holds a threading lock during an await, and another task of the loop wants it."""

import asyncio
import threading

a = asyncio.Lock()
lock = threading.Lock()


async def one() -> None:
    async with a:
        await asyncio.sleep(0.01)
        with lock:
            pass


async def other() -> None:
    with lock:
        async with a:
            pass


async def main() -> None:
    await asyncio.gather(one(), other())


asyncio.run(main())
