"""WebSocket echo with granian's own interface, RSGI: one worker, one runtime thread, uvloop.

It tells nothing when its worker listens, so anyone who starts it has to try the port.
"""

import sys

from granian import Granian
from granian.constants import Interfaces, Loops, RuntimeModes
from granian.rsgi import Scope, WebsocketMessageType, WebsocketProtocol


async def application(scope: Scope, protocol: WebsocketProtocol) -> None:
    transport = await protocol.accept()
    while True:
        message = await transport.receive()
        if message.kind == WebsocketMessageType.close:
            break
        if message.kind == WebsocketMessageType.bytes:
            await transport.send_bytes(message.data)
        else:
            await transport.send_str(message.data)
    protocol.close()


def main(port: int) -> None:
    server = Granian(
        "granian_rsgi:application",
        address="127.0.0.1",
        port=port,
        interface=Interfaces.RSGI,
        workers=1,
        runtime_threads=1,
        runtime_mode=RuntimeModes.st,
        loop=Loops.uvloop,
        backlog=4096,
        backpressure=65536,
        log_enabled=False,
    )
    server.serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))
