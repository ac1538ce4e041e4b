# expect: inversion
"""A timeout around the whole task does not prevent the deadlock inside it."""

import asyncio

a, b = asyncio.Lock(), asyncio.Lock()


async def one() -> None:
    async with asyncio.timeout(5):
        async with a, b:
            pass


async def other() -> None:
    async with asyncio.timeout(5):
        async with b, a:
            pass


async def main() -> None:
    await asyncio.gather(one(), other())


asyncio.run(main())
