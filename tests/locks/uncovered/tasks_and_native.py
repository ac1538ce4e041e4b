"""A task holds an asyncio lock and, with an argument, takes a native lock within."""

import asyncio
import ctypes
import sys

native = ctypes.PyDLL(None)  # Keeps the GIL during a call, as an extension may.
mutex = ctypes.create_string_buffer(64)  # All zeros: a mutex that is not recursive, and free.


async def work(lock: asyncio.Lock) -> None:
    async with lock:
        if len(sys.argv) > 1:
            native.pthread_mutex_lock(mutex)
            native.pthread_mutex_unlock(mutex)
        await asyncio.sleep(0)


async def main() -> None:
    lock, other = asyncio.Lock(), asyncio.Lock()
    async with other:
        await asyncio.gather(work(lock), work(lock))


asyncio.run(main())
