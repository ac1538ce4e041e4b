"""A peer of a stream that has finished sending: answers still reach it, and the end is its own."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

import vespiary

from .kit import TCP, serving, until


def finished(server: vespiary.Server, data: bytes) -> socket.socket:
    """A client that has sent bytes and ended its half."""
    peer = socket.create_connection(("127.0.0.1", int(server.urls[0].rsplit(":", 1)[1])))
    peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
    return peer


def read_all(peer: socket.socket) -> bytes:
    """What the server sends until it ends."""
    parts = []
    with peer:
        while part := peer.recv(1000):
            parts.append(part)
    return b"".join(parts)


class Plain(vespiary.Handler):
    def __init__(self) -> None:
        self.reasons: list[vespiary.CloseReason] = []

    def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
        connection.send(message.upper())

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        self.reasons.append(reason)


class AsyncMessages(Plain):
    async def on_message(  # type: ignore[override]
        self, connection: vespiary.Connection, message: bytes
    ) -> None:
        await asyncio.sleep(0)
        connection.send(message.upper())


class AsyncClose(Plain):
    async def on_close(  # type: ignore[override]
        self, connection: vespiary.Connection, reason: vespiary.CloseReason
    ) -> None:
        self.reasons.append(reason)


@pytest.mark.parametrize(
    ("handler", "options"),
    [
        (Plain, {}),
        (Plain, {"executor": "threads"}),
        (AsyncMessages, {}),
        (AsyncClose, {}),
    ],
)
async def test_a_peer_that_has_finished_gets_its_answers_and_has_ended_the_connection(
    handler: Callable[[], Plain], options: dict[str, Any]
) -> None:
    made = handler()
    async with serving(made, TCP, framing="line", **options) as server:
        for _ in range(20):
            made.reasons.clear()
            peer = finished(server, b"a\nb\nc\n")
            assert await asyncio.to_thread(read_all, peer) == b"A\nB\nC\n"
            await until(lambda: made.reasons)
            assert [reason.side for reason in made.reasons] == ["remote"]


async def test_a_handler_that_only_waits_for_the_end_hears_that_the_peer_has_finished() -> None:
    reasons: list[vespiary.CloseReason] = []

    async def quiet(connection: vespiary.Connection) -> None:
        reasons.append(await connection.wait_closed())

    async with serving(quiet, TCP) as server:
        with finished(server, b""):
            await until(lambda: reasons)
    assert reasons[0].side == "remote"


async def test_a_handler_that_has_read_to_the_end_may_wait_for_the_close() -> None:
    reasons: list[vespiary.CloseReason] = []

    async def reads(connection: vespiary.Connection) -> None:
        async for message in connection:
            connection.send(message)
        reasons.append(await connection.wait_closed())

    async with serving(reads, TCP, framing="line") as server:
        peer = finished(server, b"a\n")
        assert await asyncio.to_thread(read_all, peer) == b"a\n"
        await until(lambda: reasons)
    assert reasons[0].side == "remote"


async def test_a_task_that_waits_for_the_end_does_not_cut_the_handlers_answers() -> None:
    go_on = asyncio.Event()

    async def answers(connection: vespiary.Connection) -> None:
        async for message in connection:
            watching = asyncio.create_task(connection.wait_closed())
            await go_on.wait()
            connection.send(message)
            watching.cancel()

    async with serving(answers, TCP, framing="line") as server:
        reading = asyncio.create_task(asyncio.to_thread(read_all, finished(server, b"a\n")))
        await until(lambda: server.statistics().total.messages_received)
        go_on.set()
        assert await reading == b"a\n"
