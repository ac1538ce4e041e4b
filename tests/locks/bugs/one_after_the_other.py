# source: https://github.com/tox-dev/filelock/issues/675
# order: nothing
"""Two tasks use one lock alternately: the second waits, the loop continues, and nothing hangs."""

import asyncio


async def worker(lock: asyncio.Lock, seconds: float) -> None:
    async with lock:
        await asyncio.sleep(seconds)


async def main() -> None:
    lock = asyncio.Lock()
    await asyncio.gather(*(worker(lock, 0.7) for _ in range(2)))


asyncio.run(main())
