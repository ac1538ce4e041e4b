# expect: nothing
"""asyncio semaphores as limits, as notifications, and as locks in one order."""

import asyncio


async def main() -> None:
    limit, first, second = asyncio.Semaphore(3), asyncio.Semaphore(1), asyncio.Semaphore(1)
    given, taken = asyncio.Semaphore(0), asyncio.Semaphore(1)

    async def work() -> None:
        async with limit, first, second:
            await asyncio.sleep(0)

    async def producer() -> None:
        for _ in range(20):
            await taken.acquire()
            given.release()

    async def consumer() -> None:
        for _ in range(20):
            await given.acquire()
            taken.release()

    await asyncio.gather(producer(), consumer(), *(work() for _ in range(10)))


asyncio.run(main())
