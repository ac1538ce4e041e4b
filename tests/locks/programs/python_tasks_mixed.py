# expect: inversion
"""A threading lock inside an asyncio lock, and in the other order, during an await."""

import asyncio
import threading

a = asyncio.Lock()
lock = threading.Lock()


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
