"""One echo server: `python -m benches.loops.server KIND LOOP` prints its port and serves.

KIND is one of `KINDS`, LOOP one of `LOOPS`.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable, Coroutine
from typing import Any

KINDS = ("Protocol", "BufferedProtocol", "streams", "websockets", "aiohttp", "uvicorn")
LOOPS = ("vespiary-uring", "vespiary-epoll", "uvloop", "asyncio")


class Echo(asyncio.Protocol):
    """`data_received`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    """`get_buffer` and `buffer_updated`."""

    def __init__(self) -> None:
        self.buffer = bytearray(65536)
        self.view = memoryview(self.buffer)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport: Any = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to receive."""
        return self.view

    def buffer_updated(self, nbytes: int) -> None:
        """Send it back."""
        self.transport.write(bytes(self.view[:nbytes]))


async def _streams(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


def _port(sockets: Any) -> int:
    port: int = next(iter(sockets)).getsockname()[1]
    return port


async def _serve_protocol(factory: Callable[[], asyncio.BaseProtocol]) -> int:
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    return _port(server.sockets)


async def _serve_streams() -> int:
    server = await asyncio.start_server(_streams, "127.0.0.1", 0)
    return _port(server.sockets)


async def _serve_websockets() -> int:
    serve = importlib.import_module("websockets.asyncio.server").serve

    async def handler(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    server = await serve(handler, "127.0.0.1", 0, compression=None, ping_interval=None)
    return _port(server.sockets)


async def _serve_aiohttp() -> int:
    web = importlib.import_module("aiohttp.web")

    async def handler(request: Any) -> Any:
        return web.Response(body=await request.read())

    app = web.Application()
    app.router.add_post("/", handler)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=3600)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return int(runner.addresses[0][1])


async def _app(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            break
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _serve_uvicorn() -> int:
    uvicorn = importlib.import_module("uvicorn")
    config = uvicorn.Config(
        _app,
        port=0,
        access_log=False,
        log_level="error",
        lifespan="off",
        timeout_keep_alive=3600,
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    return _port(server.servers[0].sockets)


SERVERS: dict[str, Callable[[], Coroutine[Any, Any, int]]] = {
    "Protocol": lambda: _serve_protocol(Echo),
    "BufferedProtocol": lambda: _serve_protocol(BufferedEcho),
    "streams": _serve_streams,
    "websockets": _serve_websockets,
    "aiohttp": _serve_aiohttp,
    "uvicorn": _serve_uvicorn,
}


async def _main(kind: str) -> None:
    print(await SERVERS[kind](), flush=True)
    # Until the standard input ends.
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


def _factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.SelectorEventLoop
    if name == "uvloop":
        factory: Callable[[], asyncio.AbstractEventLoop]
        factory = importlib.import_module("uvloop").new_event_loop
        return factory
    loop = importlib.import_module("vespiary.loop").Loop
    return lambda: loop(driver=name.removeprefix("vespiary-"))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=_factory(sys.argv[2])) as runner:
        runner.run(_main(sys.argv[1]))
