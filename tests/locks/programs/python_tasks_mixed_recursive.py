# expect: nothing
"""The same with an RLock, which all tasks of the loop's thread can take."""

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
