# expect: nothing
"""Waits with a timeout create no order, and a cycle of them is not a deadlock."""

import asyncio
import contextlib

a, b, c, d = (asyncio.Lock() for _ in range(4))


async def one() -> None:
    async with a:
        await asyncio.sleep(0.05)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.9):
                await b.acquire()
                b.release()


async def other() -> None:
    async with b:
        await asyncio.sleep(0.05)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(a.acquire(), 0.9)
            a.release()


async def work(first: asyncio.Lock, second: asyncio.Lock) -> None:
    async with first:
        await asyncio.sleep(0.05)
        with contextlib.suppress(TimeoutError):
            # The limit is set between them, some calls further out.
            async with asyncio.timeout(5), asyncio.timeout(0.9), second:
                pass


async def main() -> None:
    await asyncio.gather(one(), other(), work(c, d), work(d, c))


asyncio.run(main())
