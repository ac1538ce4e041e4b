# expect: nothing
"""The same with a lock that is recursive: the tasks' one thread never waits for it."""

import asyncio
import threading

a = asyncio.Lock()
lock = threading.RLock()


async def one() -> None:
    async with a:
        with lock:
            pass


async def other() -> None:
    with lock:
        async with a:
            pass


async def main() -> None:
    await asyncio.gather(one(), other())


asyncio.run(main())
