"""A server of websockets on uvloop that publishes each message to all connections, by `broadcast`.

The moment stands in front: nanoseconds since 1970 in 20 digits.
"""

import asyncio
import sys
import time

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

everybody: set[ServerConnection] = set()


async def publish(connection: ServerConnection) -> None:
    everybody.add(connection)
    try:
        async for message in connection:
            broadcast(everybody, f"{time.time_ns():020d}{message!s}")
    except ConnectionClosed:
        pass
    finally:
        everybody.discard(connection)


async def main(port: int) -> None:
    async with serve(
        publish,
        "127.0.0.1",
        port,
        backlog=4096,
        compression=None,
        ping_interval=None,
        max_size=None,
    ):
        print("READY", port, flush=True)
        await asyncio.get_running_loop().create_future()


uvloop.run(main(int(sys.argv[1])))
