# expect: inversion
"""Two tasks take two asyncio semaphores with the initial value 1 in both orders."""

import asyncio


async def main() -> None:
    ticket, seat = asyncio.Semaphore(), asyncio.BoundedSemaphore(1)
    is_over = asyncio.Event()

    async def one() -> None:
        async with ticket, seat:
            await asyncio.sleep(0)
        is_over.set()

    async def other() -> None:
        await is_over.wait()
        async with seat, ticket:
            await asyncio.sleep(0)

    await asyncio.gather(one(), other())


asyncio.run(main())
