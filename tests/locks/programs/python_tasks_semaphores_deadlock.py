# expect: deadlock
"""Two tasks wait for each other's semaphores, while the loop continues."""

import asyncio


async def main() -> None:
    ticket, seat = asyncio.Semaphore(1), asyncio.Semaphore(1)

    async def take(one: asyncio.Semaphore, other: asyncio.Semaphore) -> None:
        async with one:
            await asyncio.sleep(0.01)
            async with other:
                pass

    await asyncio.gather(take(ticket, seat), take(seat, ticket))


asyncio.run(main())
