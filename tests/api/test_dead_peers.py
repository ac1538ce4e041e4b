"""Peers that are gone without a packet, as when their machine loses power, and busy ones."""

import asyncio
import ctypes
import socket
import struct

import pytest

import vespiary

from .kit import TCP, WS, Recorder, serving, until, virtual_time

SO_ATTACH_FILTER = 26
BPF_RETURN = 0x06
PROBES = vespiary.Deadlines(tcp_keepalive_seconds=1)
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PINGS = vespiary.Deadlines(ping_interval_seconds=1, ping_timeout_seconds=1)


class Unread(Recorder):
    """Reads nothing from its connections."""

    def on_open(self, connection: vespiary.Connection) -> None:
        super().on_open(connection)
        connection.pause_reading()


def vanish(peer: socket.socket) -> None:
    """Let the kernel drop whatever comes for a socket, without an acknowledgement (socket(7))."""
    code = struct.pack("HBBI", BPF_RETURN, 0, 0, 0)
    program = ctypes.create_string_buffer(code, len(code))
    description = struct.pack("HL", 1, ctypes.addressof(program))
    peer.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, description)


@pytest.mark.parametrize("says", [b"", b"unread"])
async def test_a_stream_whose_peer_is_gone_ends_although_it_is_not_read(says: bytes) -> None:
    handler = Unread()
    async with serving(handler, TCP, deadlines=PROBES) as server:
        port = int(server.urls[0].rpartition(":")[2])
        peer = socket.create_connection(("127.0.0.1", port))
        try:
            await until(lambda: handler.connections)
            peer.sendall(says)
            await asyncio.sleep(0)
            vanish(peer)
            reason = await asyncio.wait_for(handler.connections[0].wait_closed(), 30)
        finally:
            peer.close()
        assert "timed out" in str(reason)


async def test_a_client_whose_server_is_gone_notices_it_without_reading() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    async with vespiary.connect(url, deadlines=PROBES) as client:
        peer, _ = await asyncio.to_thread(listener.accept)
        client.pause_reading()
        vanish(peer)
        reason = await asyncio.wait_for(client.wait_closed(), 30)
        assert "timed out" in str(reason)
        peer.close()
    listener.close()


def test_the_default_is_named_with_the_other_deadlines() -> None:
    assert vespiary.Deadlines().tcp_keepalive_seconds == 60
    without = vespiary.Deadlines.from_texts({"tcp_keepalive_seconds": "none"})
    assert without.tcp_keepalive_seconds is None


async def test_a_websocket_that_vanishes_while_bytes_wait_for_it_is_noticed_by_its_pings() -> None:
    """The deadline for writing is a minute; the peer's kernel acknowledges nothing meanwhile."""
    handler = Recorder()
    async with serving(handler, WS, deadlines=PINGS) as server:
        port = int(server.urls[0].rpartition(":")[2].rstrip("/"))
        with socket.create_connection(("127.0.0.1", port)) as peer:
            peer.sendall(UPGRADE)
            await until(lambda: handler.connections)
            vanish(peer)
            connection = handler.connections[0]
            while not connection.queued_bytes:
                connection.send(b"x" * 100_000)
                await asyncio.sleep(0)
            reason = await asyncio.wait_for(connection.wait_closed(), 30)
        assert "ping_timeout_seconds" in str(reason)


async def test_a_websocket_without_room_is_not_taken_for_one_that_vanished() -> None:
    """Its kernel answers what is sent again, and acknowledges nothing until after the timeout."""
    handler, unread = Recorder(), Unread()
    async with serving(handler, WS, deadlines=PINGS) as server:
        client = await vespiary.connect(server.urls[0], unread)
        await until(lambda: handler.connections)
        connection = handler.connections[0]
        connection.send(b"x" * 15_000_000)
        end = asyncio.get_running_loop().time() + 4
        await until(lambda: asyncio.get_running_loop().time() > end or not connection.is_open)
        assert connection.is_open, connection.close_reason
        client.abort()


@virtual_time
@pytest.mark.parametrize(("count", "size"), [(63, 10), (64, 10), (1000, 10), (200, 10_000)])
async def test_a_client_that_is_busy_is_not_ended_by_the_pings_of_its_server(
    count: int, size: int
) -> None:
    async def feed(connection: vespiary.Connection) -> None:
        for _ in range(count):
            await connection.send(b"x" * size)
        await connection.wait_closed()

    async with serving(feed, WS, deadlines=PINGS) as server:
        client = await vespiary.connect(server.urls[0])
        await asyncio.sleep(10)
        sizes = [len(await client.receive()) for _ in range(count)]
        await client.close()
    assert sizes == [size] * count


@virtual_time
@pytest.mark.parametrize("count", [63, 64, 1000])
async def test_a_server_that_is_busy_is_not_ended_by_the_pings_of_its_client(count: int) -> None:
    received = 0

    async def busy(connection: vespiary.Connection) -> None:
        nonlocal received
        await asyncio.sleep(10)
        async for _ in connection:
            received += 1

    async with serving(busy, WS) as server:
        client = await vespiary.connect(server.urls[0], deadlines=PINGS)
        for _ in range(count):
            client.send("x")
        await until(lambda: received == count)
        await client.close()
