"""Remote calls in a binary protocol: a length of two bytes, little-endian, before each message.

    call:    number (4 bytes), method (1 byte), arguments
    answer:  number (4 bytes), status (1 byte; 0 is good), result

A connection can have several calls in progress. The number links an answer to its call, so a slow
call does not delay a fast one. This file contains the server and the client.

Run:   .venv/bin/python examples/binary_rpc.py serve [URL]       (default tcp://127.0.0.1:5050)
Talk:  .venv/bin/python examples/binary_rpc.py call [URL]
"""

import asyncio
import itertools
import struct
import sys
from collections.abc import Awaitable, Callable

import vespiary

FRAMING = vespiary.LengthPrefix(width=2, byteorder="little")
HEAD = struct.Struct("<IB")
GOOD, FAILED = 0, 1
CALLS_MAX = 100


async def total(arguments: bytes) -> bytes:
    """The sum of doubles."""
    numbers = [number for (number,) in struct.iter_unpack("<d", arguments)]
    return struct.pack("<d", sum(numbers))


async def wait(arguments: bytes) -> bytes:
    """Wait for some milliseconds."""
    (milliseconds,) = struct.unpack("<H", arguments)
    await asyncio.sleep(milliseconds / 1000)
    return b""


METHODS: dict[int, Callable[[bytes], Awaitable[bytes]]] = {1: total, 2: wait}


async def serve_calls(connection: vespiary.Connection[bytes]) -> None:
    """Serve one client. Its calls are cancelled when the connection ends."""
    free = asyncio.Semaphore(CALLS_MAX)
    async with asyncio.TaskGroup() as calls:
        async for message in connection:
            if len(message) < HEAD.size:
                connection.abort()
                return
            await free.acquire()
            task = calls.create_task(answer(connection, message))
            task.add_done_callback(lambda _: free.release())


async def answer(connection: vespiary.Connection[bytes], message: bytes) -> None:
    """Run one call."""
    number, method = HEAD.unpack_from(message)
    try:
        result = HEAD.pack(number, GOOD) + await METHODS[method](message[HEAD.size :])
    except KeyError:
        result = HEAD.pack(number, FAILED) + f"there is no method {method}".encode()
    except struct.error as error:
        result = HEAD.pack(number, FAILED) + str(error).encode()
    if connection.is_open:
        connection.send(result)


class CallFailed(Exception):
    """The server has answered with an error."""


class Client:
    """A client."""

    def __init__(self, connection: vespiary.Connection[bytes]) -> None:
        self.connection = connection
        self.numbers = itertools.count(1)
        self.waiting: dict[int, asyncio.Future[bytes]] = {}

    async def read(self) -> None:
        """Pass answers to the waiting calls, until the connection ends."""
        try:
            async for message in self.connection:
                number, status = HEAD.unpack_from(message)
                future = self.waiting.pop(number)
                if status == GOOD:
                    future.set_result(message[HEAD.size :])
                else:
                    future.set_exception(CallFailed(message[HEAD.size :].decode()))
        finally:
            for future in self.waiting.values():
                future.set_exception(CallFailed("the connection has ended"))

    async def call(self, method: int, arguments: bytes) -> bytes:
        """Call a method of the server."""
        number = next(self.numbers)
        self.waiting[number] = asyncio.get_running_loop().create_future()
        self.connection.send(HEAD.pack(number, method) + arguments)
        return await self.waiting[number]


async def call(url: str) -> None:
    """Make three calls at once: the slow one ends last, and one fails."""
    async with vespiary.connect(url, framing=FRAMING) as connection:
        client = Client(connection)
        reading = asyncio.create_task(client.read())
        slow = asyncio.create_task(client.call(2, struct.pack("<H", 300)))
        result = await client.call(1, struct.pack("<3d", 1.5, 2.5, 3.0))
        print(f"the sum is {struct.unpack('<d', result)[0]}; the slow call is {slow.done()=}")
        try:
            await client.call(9, b"")
        except CallFailed as error:
            print(f"failed: {error}")
        await slow
        print("the slow call has ended")
    await reading


if __name__ == "__main__":
    what = sys.argv[1] if len(sys.argv) > 1 else "serve"
    url = sys.argv[2] if len(sys.argv) > 2 else "tcp://127.0.0.1:5050"
    if what == "call":
        vespiary.run(call(url))
    else:
        limits = vespiary.Limits(message_bytes_max=65_535)
        vespiary.serve(serve_calls, url, framing=FRAMING, limits=limits)
