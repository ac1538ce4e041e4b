"""WebSocket echo with websockets on uvloop, without compression and without pings."""

import asyncio
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


async def echo(connection: ServerConnection) -> None:
    try:
        async for message in connection:
            await connection.send(message)
    except ConnectionClosed:
        pass


async def main(port: int) -> None:
    async with serve(
        echo,
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
