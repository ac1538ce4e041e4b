# expect: inversion
"""The lock of an asyncio condition is taken again after the wait, inside another lock."""

import asyncio

a = asyncio.Lock()
condition = asyncio.Condition()


async def waits() -> None:
    async with condition:
        await condition.wait()
        async with a:
            pass


async def tells() -> None:
    async with a, condition:
        condition.notify()


async def main() -> None:
    waiting = asyncio.create_task(waits())
    await asyncio.sleep(0)
    await asyncio.gather(waiting, tells())


asyncio.run(main())
