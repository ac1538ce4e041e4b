"""UDP echo on uvloop: a DatagramProtocol."""

import asyncio
import sys
from typing import Any

import uvloop


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.send = transport.sendto

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.send(data, addr)


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Echo, ("127.0.0.1", port))
    print("READY", port, flush=True)
    await asyncio.Event().wait()


uvloop.run(main(int(sys.argv[1])))
