"""TCP echo on uvloop: a Protocol. uvloop sets TCP_NODELAY by itself."""

import asyncio
import sys

import uvloop


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.write = transport.write

    def data_received(self, data: bytes) -> None:
        self.write(data)


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", port, backlog=4096)
    print("READY", port, flush=True)
    await server.serve_forever()


uvloop.run(main(int(sys.argv[1])))
