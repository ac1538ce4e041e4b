"""A peer that disconnects is not the fault of the handler that lets it pass through."""

import asyncio
import gc
import logging
import socket
import struct
from typing import Any

import pytest

import vespiary

from .kit import forever, serving, turns, until


async def iterating(connection: vespiary.Connection) -> None:
    async for message in connection:
        connection.send(message)


async def receiving(connection: vespiary.Connection) -> None:
    while True:
        connection.send(await connection.receive())


async def slow(connection: vespiary.Connection) -> None:
    async for message in connection:
        await turns()
        connection.send(message)


class Methods(vespiary.Handler):
    async def on_message(self, connection: vespiary.Connection, message: Any) -> None:
        connection.send(message)


class Receiving(vespiary.Handler):
    async def on_open(self, connection: vespiary.Connection) -> None:
        await receiving(connection)


@pytest.mark.parametrize("handler", [iterating, receiving, slow, Methods, Receiving])
@pytest.mark.parametrize("how", ["half-close", "close", "reset"])
@pytest.mark.parametrize("sent", [b"a\nb\nlast", b"a\nb\n"], ids=["within", "between"])
@pytest.mark.parametrize("framing", ["line", "length"])
async def test_a_disconnect_is_not_an_error_of_a_coroutine_handler(
    handler: Any, how: str, sent: bytes, framing: Any, whole_log: pytest.LogCaptureFixture
) -> None:
    if framing == "length":
        sent = b"\0\0\0\1a\0\0\0\1b" + (b"\0\0\0\4la" if sent.endswith(b"last") else b"")
    async with serving(handler, "tcp://127.0.0.1:0", framing=framing) as server:
        port = int(server.urls[0].rpartition(":")[2])
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        await until(lambda: server.statistics().total.messages_received == 2)
        if how == "half-close":
            writer.write_eof()
        elif how == "close":
            writer.close()
        else:
            raw = writer.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        await until(lambda: server.statistics().total.connections_closed == 1)
        assert server.statistics().total.handler_errors == 0
        writer.close()
    assert [it for it in whole_log.records if it.levelno > logging.INFO] == []


async def test_an_unterminated_last_line_is_not_a_message_and_the_connection_is_broken() -> None:
    ends: list[Any] = []

    async def gather(connection: vespiary.Connection) -> None:
        try:
            async for message in connection:
                ends.append(message)  # noqa: PERF401 - What came before an error counts.
        except vespiary.RemoteError as error:
            ends.append(str(error))
            raise

    async with serving(gather, "tcp://127.0.0.1:0", framing="line") as server:
        port = int(server.urls[0].rpartition(":")[2])
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        local = writer.transport.get_extra_info("sockname")
        writer.write(b"a\nlast")
        writer.write_eof()
        await until(lambda: len(ends) == 2)
        assert ends[0] == b"a"
        assert f"{local[0]}:{local[1]} was broken by the peer" in ends[1]
        assert "within a message" in ends[1]
        writer.close()


async def test_the_end_of_another_connection_is_still_an_error_of_the_handler() -> None:
    async def leave(connection: vespiary.Connection) -> None:
        connection.close()

    async def relay(connection: vespiary.Connection) -> None:
        async with vespiary.connect(other.urls[0]) as further:
            await further.receive()

    async with serving(leave) as other, serving(relay) as server:
        async with vespiary.connect(server.urls[0]) as client:
            reason = await client.wait_closed()
            assert reason.code == 1011
        assert server.statistics().total.handler_errors == 1


@pytest.mark.parametrize("ends", ["half closes", "closes", "resets"])
async def test_an_async_on_request_begins_and_is_cancelled_where_its_client_has_gone(
    ends: str,
) -> None:
    """Also where the end came together with the request, before the first step of the task."""
    calls: list[str] = []

    class Slow(vespiary.Handler):
        async def on_request(self, request: vespiary.Request) -> vespiary.Response:
            calls.append("begun")
            try:
                await forever()
            finally:
                calls.append("ended")
            return request.accept()

    asked = (
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with serving(Slow) as server:
        host, port = server.urls[0].removeprefix("ws://").rstrip("/").split(":")
        for _ in range(5):
            peer = socket.create_connection((host, int(port)))
            peer.send(asked)
            if ends == "half closes":
                peer.shutdown(socket.SHUT_WR)
            elif ends == "resets":
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await until(lambda: server.statistics().total.connections_accepted)
            if ends != "half closes":
                peer.close()
            await until(lambda: server.statistics().total.connections_open == 0)
            peer.close()
        gc.collect()
    assert calls.count("begun") == calls.count("ended")


async def pinging(connection: vespiary.Connection) -> None:
    while True:
        await connection.ping()


async def draining(connection: vespiary.Connection) -> None:
    connection.pause_reading()
    while True:
        connection.send("x" * 65536)
        await connection.drain()


async def in_a_thread(connection: vespiary.Connection) -> None:
    while True:
        await asyncio.to_thread(connection.send, "x")


async def awaiting_message(connection: vespiary.Connection) -> None:
    await connection.receive()


WAITS = [awaiting_message, pinging, draining, in_a_thread]


@pytest.mark.parametrize("wait", WAITS, ids=lambda wait: wait.__name__)
async def test_the_error_of_each_wait_names_the_peer(wait: Any) -> None:
    found: list[tuple[str, Any]] = []

    async def handler(connection: vespiary.Connection) -> None:
        try:
            await wait(connection)
        except vespiary.ConnectionClosed as error:
            found.append((error.address, connection.peer))

    async with serving(handler) as server, vespiary.connect(server.urls[0]) as client:
        client.pause_reading()
        await until(lambda: server.statistics().total.connections_open)
        await turns()
        client.abort()
        await until(lambda: found)
    ((address, peer),) = found
    assert address == "{}:{}".format(*peer)


async def test_the_error_after_abort_names_the_call() -> None:
    async with serving(receiving) as server, vespiary.connect(server.urls[0]) as client:
        client.abort()
        with pytest.raises(vespiary.LocalError, match="broken by this end: abort\\(\\) was called"):
            await client.receive()
