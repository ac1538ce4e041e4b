# expect: deadlock
"""Tasks wait for each other in a cycle, while other tasks run."""

import asyncio
import sys

count = int(sys.argv[1]) if len(sys.argv) > 1 else 2
ring = [asyncio.Lock() for _ in range(count)]


async def take_next(position: int) -> None:
    async with ring[(position + 1) % count]:
        pass


async def waits(position: int) -> None:
    async with ring[position]:
        await asyncio.sleep(0.01)
        await take_next(position)


async def main() -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(waits(number))
        for _ in range(1000):
            await asyncio.sleep(0.02)


asyncio.run(main())
