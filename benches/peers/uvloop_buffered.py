"""TCP echo on uvloop: a BufferedProtocol, which receives into one buffer of its own."""

import asyncio
import sys

import uvloop

SHARED = memoryview(bytearray(256 * 1024))


class Echo(asyncio.BufferedProtocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.write = transport.write

    def get_buffer(self, sizehint: int) -> memoryview:
        return SHARED

    def buffer_updated(self, nbytes: int) -> None:
        # uvloop may keep what it could not write at once, so the shared buffer must be copied.
        self.write(bytes(SHARED[:nbytes]))


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", port, backlog=4096)
    print("READY", port, flush=True)
    await server.serve_forever()


uvloop.run(main(int(sys.argv[1])))
