"""Protocols that note what happens, and transports with the socket of their peer."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import vespiary
from tests.waiting import until

KINDS = ("tcp", "unix")
"""What a pair of sockets may be. The driver receives from those of TCP itself on io_uring."""
_BUFFER_BYTES = 1 << 17


def pair(kind: str = "tcp") -> tuple[socket.socket, socket.socket]:
    """Two connected sockets."""
    if kind == "unix":
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # The kernel would let them grow to some megabytes.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        ours = socket.create_connection(listener.getsockname())
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        theirs, _ = listener.accept()
    return ours, theirs


class Recorder(asyncio.Protocol):
    """Notes what happens to it."""

    def __init__(self) -> None:
        self.received = b""
        self.calls: list[str] = []
        self.lost: list[BaseException | None] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.calls.append("data_received")

    def eof_received(self) -> bool:
        self.calls.append("eof_received")
        return False

    def pause_writing(self) -> None:
        self.calls.append("pause_writing")

    def resume_writing(self) -> None:
        self.calls.append("resume_writing")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)

    async def until_received(self, count: int) -> None:
        await until(lambda: len(self.received) >= count)


@asynccontextmanager
async def connected(
    protocol: asyncio.BaseProtocol, kind: str = "tcp"
) -> AsyncIterator[tuple[Any, socket.socket]]:
    """A transport with this protocol, and the socket of its peer, which does not block."""
    ours, theirs = pair(kind)
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: protocol, sock=ours)
    with theirs:
        try:
            yield transport, theirs
        finally:
            transport.abort()


async def receive(theirs: socket.socket, count: int) -> bytes:
    """Receive so many bytes."""
    loop = asyncio.get_running_loop()
    received = b""
    while len(received) < count:
        more = await loop.sock_recv(theirs, 1 << 16)
        if not more:
            break
        received += more
    return received


def run(main: Any, driver: str, *, debug: bool = False) -> None:
    """Run a coroutine in a loop of ours."""
    vespiary.run(main, driver=driver, debug=debug)
