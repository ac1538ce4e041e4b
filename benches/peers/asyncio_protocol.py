"""TCP echo on the standard library's event loop: a Protocol, its fastest interface."""

import asyncio
import sys


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


asyncio.run(main(int(sys.argv[1])))
