# source: https://github.com/Azure/azure-sdk-for-python/pull/11591
# hang: deadlock, repaired: nothing
"""Coroutines hold a threading lock during an await. The second one blocks the loop forever."""

import asyncio
import threading

from forms import repaired

of_threads = threading.Lock()


async def on_request(of_tasks: asyncio.Lock) -> None:
    if repaired:
        async with of_tasks:
            await asyncio.sleep(0.01)
        return
    with of_threads:
        await asyncio.sleep(0.01)


async def main() -> None:
    lock = asyncio.Lock()
    await asyncio.gather(on_request(lock), on_request(lock))


asyncio.run(main())
