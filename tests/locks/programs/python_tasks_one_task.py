# expect: information
"""One task takes both orders, one after the other."""

import asyncio

a, b = asyncio.Lock(), asyncio.Lock()


async def main() -> None:
    async with a, b:
        pass
    async with b, a:
        pass


asyncio.run(main())
