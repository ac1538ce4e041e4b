"""Our echo in a loop that is not ours: `guest.py callback|coroutine tcp|ws PORT asyncio|uvloop`.

VESPIARY_DRIVER chooses the driver.
"""

import asyncio
import sys

import vespiary


class Echo(vespiary.Handler):
    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        connection.send(message)


async def echo(connection: vespiary.Connection) -> None:
    async for message in connection:
        connection.send(message)


async def main(form: str, transport: str, port: str) -> None:
    server = vespiary.Server()
    server.add(Echo if form == "callback" else echo, f"{transport}://127.0.0.1:{port}")
    async with server:
        print("READY", port, flush=True)
        await server.wait_stopped()


if sys.argv[4] == "uvloop":
    import uvloop

    factory = uvloop.new_event_loop
else:
    factory = asyncio.SelectorEventLoop
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main(*sys.argv[1:4]))
