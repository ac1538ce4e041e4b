"""What the tests share: a server for the time of a block, and handlers that remember."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

import pytest

import vespiary
from tests.addresses import OWN_HOST, free_port
from tests.waiting import (
    are_gone,
    forever,
    open_descriptors,
    still_waits,
    turns,
    until,
    wait_until,
)
from vespiary.handler import AnyHandler

__all__ = [
    "OWN_HOST",
    "OWN_TCP",
    "OWN_WS",
    "TCP",
    "WS",
    "AnyHandler",
    "Echo",
    "Recorder",
    "are_gone",
    "echo",
    "forever",
    "free_port",
    "gathered",
    "open_descriptors",
    "reset",
    "send_until_full",
    "serving",
    "still_waits",
    "streams",
    "turns",
    "until",
    "virtual_time",
    "wait_until",
]

WS = "ws://127.0.0.1:0"
TCP = "tcp://127.0.0.1:0"
OWN_WS = f"ws://{OWN_HOST}:0"
OWN_TCP = f"tcp://{OWN_HOST}:0"

virtual_time = pytest.mark.parametrize("driver", ["sim"], indirect=True)
"""Run a test in the simulation: sleeps and deadlines take no time, and the network is simulated."""


@asynccontextmanager
async def serving(
    handler: AnyHandler, url: str = WS, **options: Any
) -> AsyncIterator[vespiary.Server]:
    """A server with one endpoint."""
    server = vespiary.Server()
    server.add(handler, url, **options)
    async with server:
        yield server


@asynccontextmanager
async def streams(
    server: vespiary.Server,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection with a server, by hand; it is reset at the end."""
    endpoint = vespiary.Endpoint.parse(server.urls[0])
    if endpoint.is_unix:
        reader, writer = await asyncio.open_unix_connection(endpoint.path)
    else:
        reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with a reset instead of the end that a close sends."""
    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Echo(vespiary.Handler):
    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        connection.send(message)


async def echo(connection: vespiary.Connection) -> None:
    async for message in connection:
        connection.send(message)
        await connection.drain()


class Recorder(vespiary.Handler):
    """Remembers what it was called with, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.connections: list[vespiary.Connection] = []

    @property
    def names(self) -> list[str]:
        return [call[0] for call in self.calls]

    def on_start(self, server: vespiary.Server) -> None:
        self.calls.append(("start", server))

    def on_open(self, connection: vespiary.Connection) -> None:
        self.calls.append(("open",))
        self.connections.append(connection)

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        self.calls.append(("message", message))

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        self.calls.append(("close", reason))

    def on_stop(self, server: vespiary.Server) -> None:
        self.calls.append(("stop", server))

    @property
    def reasons(self) -> list[vespiary.CloseReason]:
        return [call[1] for call in self.calls if call[0] == "close"]


async def send_until_full(connection: vespiary.Connection, message: bytes, most: int = 4000) -> int:
    """Send until `drain` waits for the peer; how many messages were sent."""
    for number in range(1, most + 1):
        connection.send(message)
        draining = asyncio.ensure_future(connection.drain())
        if await still_waits(draining):
            draining.cancel()
            return number
    raise AssertionError("nothing holds the sender back")


async def gathered(connection: vespiary.Connection) -> tuple[list[Any], Exception | None]:
    """Every message that iterating gives, and the error that ended it, if one did."""
    messages: list[Any] = []
    try:
        async for message in connection:
            messages.append(message)  # noqa: PERF401 - What came before an error counts.
    except vespiary.ConnectionClosed as error:
        return messages, error
    return messages, None
