# expect: inversion
"""Two tasks take two asyncio locks in both orders."""

import asyncio

a, b = asyncio.Lock(), asyncio.Lock()


async def one() -> None:
    async with a, b:
        pass


async def other() -> None:
    await b.acquire()
    await a.acquire()
    a.release()
    b.release()


async def main() -> None:
    await asyncio.gather(one(), other())


asyncio.run(main())
