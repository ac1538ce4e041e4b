# expect: inversion
"""A time limit around all that a task does does not excuse its orders: until then it hangs."""

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
