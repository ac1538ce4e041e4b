# expect: nothing
"""Tasks take two locks in both orders, but only under a third lock."""

import asyncio

a, b, gate = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()


async def one() -> None:
    async with gate, a, b:
        await asyncio.sleep(0)


async def other() -> None:
    async with gate, b, a:
        await asyncio.sleep(0)


async def main() -> None:
    await asyncio.gather(one(), other())


asyncio.run(main())
