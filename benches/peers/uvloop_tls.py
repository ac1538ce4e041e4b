"""TLS echo with a Protocol on uvloop: `uvloop_tls.py uvloop|aiofastnet PORT CERTIFICATE KEY`.

`aiofastnet` replaces uvloop's transports by its own.
"""

import asyncio
import ssl
import sys

import uvloop


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.write = transport.write

    def data_received(self, data: bytes) -> None:
        self.write(data)


async def main(kind: str, port: int, certificate: str, key: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()
    if kind == "aiofastnet":
        import aiofastnet

        server = await aiofastnet.create_server(
            loop, Echo, "127.0.0.1", port, ssl=context, backlog=4096
        )
    else:
        server = await loop.create_server(Echo, "127.0.0.1", port, ssl=context, backlog=4096)
    print("READY", port, flush=True)
    await server.serve_forever()


uvloop.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]))
