"""The servers that the cases are said to: ours, and two peers, set up alike.

`/chat` opens a WebSocket that speaks `v2.chat` and `v1.chat`, `/page` is a plain page, and pages of
https://example.com may connect. Run as a program, this serves one of them on a free port, says
which, and ends with its standard input.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any, Self

__all__ = ["FEATURES", "PEERS", "Running"]

SUBPROTOCOLS = ("v2.chat", "v1.chat")
ORIGIN = "https://example.com"
FEATURES = {"ours": {"origins"}, "websockets": {"origins"}, "aiohttp": set[str]()}
"""What each server has of that which some cases are about."""
PEERS = ("aiohttp", "websockets")


class Running:
    """A server in a process of its own."""

    def __init__(self, name: str, driver: str = "") -> None:
        # A pipe that nobody reads would stop a server that logs much.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end.
        command = [sys.executable, "-m", "tests.conformance.handshake.servers", name, driver]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        port = self._process.stdout.readline()
        if not port:
            self._process.wait()
            raise RuntimeError(self.log())
        self.address = ("127.0.0.1", int(port))
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._process.communicate(timeout=10)
        finally:
            self._process.kill()
            self._process.wait()
            self._log.close()

    def log(self) -> str:
        """What it has written to standard error."""
        self._log.seek(0)
        return self._log.read().decode()


async def _ended() -> None:
    """Wait until nobody holds the other end of standard input."""
    await asyncio.to_thread(sys.stdin.read)


async def ours() -> None:
    """This project's server."""
    import vespiary

    class Chat(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response | None:
            if request.path == "/page":
                return request.respond(200, "page\n")
            return None

        def on_message(self, connection: vespiary.Connection, message: str | bytes) -> None:
            connection.send(message)

    server = vespiary.Server()
    options = vespiary.WebSocket(origins=[ORIGIN], subprotocols=SUBPROTOCOLS)
    server.add(Chat, "ws://127.0.0.1:0", websocket=options)
    async with server:
        print(server.urls[0].rstrip("/").rpartition(":")[2], flush=True)
        await _ended()


async def websockets() -> None:
    """The package `websockets`."""
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.http11 import Request, Response
    from websockets.typing import Origin, Subprotocol

    async def chat(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/page":
            return connection.respond(200, "page\n")
        return None

    def choose(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        # By itself it refuses clients that offer none.
        return next((Subprotocol(name) for name in SUBPROTOCOLS if name in offered), None)

    async with serve(
        chat,
        "127.0.0.1",
        0,
        process_request=answer,
        origins=[None, Origin(ORIGIN)],
        subprotocols=[Subprotocol(name) for name in SUBPROTOCOLS],
        select_subprotocol=choose,
        compression=None,
    ) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await _ended()


async def aiohttp() -> None:
    """The server of the package `aiohttp`."""
    from aiohttp import web

    async def chat(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse(protocols=SUBPROTOCOLS, compress=False)
        await response.prepare(request)
        async for message in response:
            await response.send_str(message.data)
        return response

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="page\n")

    application = web.Application()
    application.router.add_get("/chat", chat)
    application.router.add_get("/page", page)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sockets: Any = runner.addresses
    print(sockets[0][1], flush=True)
    await _ended()
    await runner.cleanup()


def main() -> None:
    """Serve what the command line names."""
    name, driver = sys.argv[1:3]
    if name == "ours":
        import vespiary

        vespiary.run(ours(), driver=driver)
    else:
        asyncio.run({"websockets": websockets, "aiohttp": aiohttp}[name]())


if __name__ == "__main__":
    main()
