"""TCP echo on rloop, the event loop written in Rust: a Protocol."""

import asyncio
import sys

import rloop


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.write = transport.write

    def data_received(self, data: bytes) -> None:
        self.write(data)


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(Echo, "127.0.0.1", port, backlog=4096)
    print("READY", port, flush=True)
    # Not serve_forever(): in rloop 0.5 it starts serving twice, and then the port is refused.
    await loop.create_future()


with asyncio.Runner(loop_factory=rloop.new_event_loop) as runner:
    runner.run(main(int(sys.argv[1])))
