"""A server of picows on uvloop that sends each message to all connections, in a loop.

The moment stands in front: nanoseconds since 1970 in 20 digits.
"""

import sys
import time

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

everybody: set[WSTransport] = set()


class Publisher(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        everybody.add(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
            return
        message = f"{time.time_ns():020d}{frame.get_payload_as_utf8_text()}".encode()
        for each in everybody:
            each.send(WSMsgType.TEXT, message)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        everybody.discard(transport)


def accept(request: WSUpgradeRequest) -> WSListener:
    return Publisher()


async def main(port: int) -> None:
    server = await ws_create_server(accept, "127.0.0.1", port, backlog=4096)
    print("READY", port, flush=True)
    await server.serve_forever()


uvloop.run(main(int(sys.argv[1])))
