"""WebSocket echo with picows on uvloop, with the transport that picows takes by default.

With TLS if there are a certificate and a key: `picows_uvloop.py PORT [CERTIFICATE KEY]`.
"""

import ssl
import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server


class Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


def accept(request: WSUpgradeRequest) -> WSListener:
    return Echo()


async def main(port: int, *files: str) -> None:
    context = None
    if files:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*files)
    server = await ws_create_server(accept, "127.0.0.1", port, backlog=4096, ssl=context)
    print("READY", port, flush=True)
    await server.serve_forever()


uvloop.run(main(int(sys.argv[1]), *sys.argv[2:]))
