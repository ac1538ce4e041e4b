# expect: nothing
"""An `acquire` that is cancelled or times out holds nothing and creates no order."""

import asyncio
import contextlib

a, b = asyncio.Lock(), asyncio.Lock()


async def orders(event: asyncio.Event) -> None:
    # Beside the other: were b held there when a is taken, this would be the other half.
    async with a, b:
        event.set()
        await asyncio.sleep(0.05)


async def main() -> None:
    event = asyncio.Event()
    task = asyncio.create_task(orders(event))
    await event.wait()
    waits = asyncio.create_task(b.acquire())
    await asyncio.sleep(0)
    waits.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waits
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(b.acquire(), 0.01)
    # Until Python 3.11 a task of its own gets it, and it is ours all the same.
    await asyncio.wait_for(b.acquire(), 1)
    b.release()
    async with a:
        pass
    await task


asyncio.run(main())
