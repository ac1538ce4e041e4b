"""Peers that are gone without a packet, as when their machine loses power, while nobody reads."""

import asyncio
import ctypes
import socket
import struct

import pytest

import vespiary

from .kit import TCP, Recorder, serving, until

SO_ATTACH_FILTER = 26
BPF_RETURN = 0x06
PROBES = vespiary.Deadlines(tcp_keepalive_seconds=1)


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
