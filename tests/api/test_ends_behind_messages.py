"""The end of a WebSocket behind messages that nobody has received: it is noticed, none is lost."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import vespiary

from .kit import WS, serving, until, wait_until
from .test_half_closes import reset

COUNT = 300
MASK = bytes(4)
CLOSE = b"\x88\x82" + MASK + struct.pack("!H", 1000)
# Nothing but the look at the socket can notice an end.
ALONE = vespiary.Deadlines(ping_interval_seconds=None, tcp_keepalive_seconds=None)
SMALL = vespiary.Limits(inbox_messages_max=4)

ENDS: dict[str, bytes | None] = {"fin": b"", "close frame and fin": CLOSE, "reset": None}
Handling = Callable[["Seen", vespiary.Connection], Awaitable[None]]


class Seen:
    """What a handler has come to know."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.reason: vespiary.CloseReason | None = None
        self.go_on = asyncio.Event()


def ask(server: vespiary.Server) -> socket.socket:
    """A WebSocket, open."""
    host, port = server.urls[0].removeprefix("ws://").rstrip("/").split(":")
    peer = socket.create_connection((host, int(port)))
    peer.sendall(
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    return peer


def text(number: int) -> bytes:
    data = b"%d" % number
    return bytes((0x81, 0x80 | len(data))) + MASK + data


def end(peer: socket.socket, ends: str) -> None:
    """Send messages, and the end behind them."""
    last = ENDS[ends]
    peer.sendall(b"".join(text(number) for number in range(COUNT)) + (last or b""))
    if last is None:
        reset(peer)
    else:
        peer.shutdown(socket.SHUT_WR)


async def waits(seen: Seen, connection: vespiary.Connection) -> None:
    seen.reason = await connection.wait_closed()


async def waits_and_is_paused(seen: Seen, connection: vespiary.Connection) -> None:
    connection.pause_reading()
    seen.reason = await connection.wait_closed()


async def only_sends(seen: Seen, connection: vespiary.Connection) -> None:
    await until(lambda: not connection.is_open)
    seen.reason = await connection.wait_closed()


async def receives_when_it_has_ended(seen: Seen, connection: vespiary.Connection) -> None:
    await only_sends(seen, connection)
    try:
        async for message in connection:
            seen.messages.append(message)
    except vespiary.ConnectionClosed:
        pass


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("handling", [waits, waits_and_is_paused, only_sends])
async def test_a_coroutine_that_does_not_receive_notices_the_end_behind_messages(
    handling: Handling, ends: str
) -> None:
    seen = Seen()

    async def handler(connection: vespiary.Connection) -> None:
        await handling(seen, connection)

    async with serving(handler, limits=SMALL, deadlines=ALONE) as server:
        peer = await asyncio.to_thread(ask, server)
        await asyncio.to_thread(peer.recv, 1000)
        end(peer, ends)
        await until(lambda: seen.reason)
        peer.close()
    assert seen.reason is not None
    assert seen.reason.side == "remote"
    if ends == "close frame and fin" and handling is not waits_and_is_paused:
        assert (seen.reason.kind, seen.reason.code) == ("closed", 1000)


async def test_messages_before_the_end_are_there_when_the_end_was_noticed() -> None:
    seen = Seen()

    async def handler(connection: vespiary.Connection) -> None:
        await receives_when_it_has_ended(seen, connection)
        seen.go_on.set()

    async with serving(handler, limits=SMALL, deadlines=ALONE) as server:
        peer = await asyncio.to_thread(ask, server)
        await asyncio.to_thread(peer.recv, 1000)
        end(peer, "close frame and fin")
        await seen.go_on.wait()
        peer.close()
    assert seen.messages == [str(number) for number in range(COUNT)]


class Busy(vespiary.Handler):
    """Takes its first message, and no further one until it is let go on."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.connections: list[vespiary.Connection] = []

    def on_open(self, connection: vespiary.Connection) -> None:
        self.connections.append(connection)

    async def on_message(self, connection: vespiary.Connection, message: str) -> None:
        await self.seen.go_on.wait()
        self.seen.messages.append(message)

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        self.seen.reason = reason


class BusyThread(Busy):
    def on_message(  # type: ignore[override]
        self, connection: vespiary.Connection, message: str
    ) -> None:
        wait_until(self.seen.go_on.is_set)
        self.seen.messages.append(message)


@pytest.mark.parametrize(
    ("kind", "options"), [(Busy, {}), (BusyThread, {"executor": "threads"})], ids=["async", "pool"]
)
@pytest.mark.parametrize("ends", ["fin", "close frame and fin"])
async def test_the_end_behind_messages_is_noticed_while_on_message_is_busy(
    kind: type[Busy], options: dict[str, Any], ends: str
) -> None:
    seen = Seen()
    handler = kind(seen)
    async with serving(handler, limits=SMALL, deadlines=ALONE, **options) as server:
        peer = await asyncio.to_thread(ask, server)
        await asyncio.to_thread(peer.recv, 1000)
        end(peer, ends)
        await until(lambda: handler.connections and not handler.connections[0].is_open)
        assert seen.messages == []
        seen.go_on.set()
        await until(lambda: seen.reason)
        peer.close()
    assert seen.messages == [str(number) for number in range(COUNT)]
    assert seen.reason is not None
    assert seen.reason.code == (1000 if ends == "close frame and fin" else 1006)


async def test_a_client_that_nobody_receives_from_notices_the_end_behind_messages() -> None:
    class Floods(vespiary.Handler):
        def on_open(self, connection: vespiary.Connection) -> None:
            for number in range(COUNT):
                connection.send(str(number))
            connection.close(1001)

    deadlines = vespiary.Deadlines(
        ping_interval_seconds=None, tcp_keepalive_seconds=None, close_seconds=0.5
    )
    async with serving(Floods, WS, deadlines=deadlines) as server:
        client = vespiary.connect(server.urls[0], limits=SMALL, deadlines=ALONE)
        async with client as connection:
            await until(lambda: not connection.is_open)
            reason = await connection.wait_closed()
            got = [message async for message in connection]
    assert reason.code == 1001
    assert got == [str(number) for number in range(COUNT)]
