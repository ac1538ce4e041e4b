# source: https://github.com/python/cpython/pull/2037
# order: nothing
"""A task is cancelled at the moment at which it gets a lock, and the next task gets the lock."""

import asyncio


async def takes(lock: asyncio.Lock) -> None:
    async with lock:
        await asyncio.sleep(0)


async def main() -> None:
    lock = asyncio.Lock()
    await lock.acquire()
    tasks = [asyncio.ensure_future(takes(lock)) for _ in range(3)]
    await asyncio.sleep(0)
    lock.release()
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not lock.locked()


asyncio.run(main())
