# expect: deadlock
"""A task awaits with a lock of threads held, for another that then wants it: one thread hangs."""

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
