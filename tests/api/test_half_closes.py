"""A peer of a stream that has finished sending: answers still reach it, and the end is its own."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
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


def reset(peer: socket.socket) -> None:
    """Close with RST."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


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


async def waits(connection: vespiary.Connection) -> vespiary.CloseReason:
    return await connection.wait_closed()


async def waits_in_a_task(connection: vespiary.Connection) -> vespiary.CloseReason:
    return await asyncio.create_task(waits(connection))


@pytest.mark.parametrize("wait", [waits, waits_in_a_task])
@pytest.mark.parametrize("inbox_messages_max", [1, 1024])
async def test_the_fin_behind_messages_that_nobody_receives_ends_a_handler_that_waits_for_the_end(
    wait: Callable[[vespiary.Connection], Awaitable[vespiary.CloseReason]], inbox_messages_max: int
) -> None:
    reasons: list[vespiary.CloseReason] = []

    async def quiet(connection: vespiary.Connection) -> None:
        reasons.append(await wait(connection))

    limits = vespiary.Limits(inbox_messages_max=inbox_messages_max)
    async with serving(quiet, TCP, framing="line", limits=limits) as server:
        with finished(server, b"a line\n" * 5_000):
            await until(lambda: reasons)
    assert reasons[0].side == "remote"


async def hears_nothing(connection: vespiary.Connection, go_on: asyncio.Event) -> None:
    await go_on.wait()


async def has_read_all(connection: vespiary.Connection, go_on: asyncio.Event) -> None:
    async for _ in connection:
        pass
    await go_on.wait()


@pytest.mark.parametrize("wait", [hears_nothing, has_read_all])
@pytest.mark.parametrize("sent", [b"", b"a\nb\n"])
async def test_the_reset_of_a_peer_that_has_finished_is_noticed_while_a_handler_waits(
    wait: Callable[[vespiary.Connection, asyncio.Event], Awaitable[None]], sent: bytes
) -> None:
    go_on = asyncio.Event()
    connections: list[vespiary.Connection] = []

    async def handler(connection: vespiary.Connection) -> None:
        connections.append(connection)
        await wait(connection, go_on)

    async with serving(handler, TCP, framing="line") as server:
        reset(finished(server, sent))
        await until(lambda: connections and not connections[0].is_open)
        assert connections[0].close_reason is not None
        assert connections[0].close_reason.kind == "broken"
        go_on.set()


async def test_the_reset_of_a_peer_that_has_finished_ends_a_plain_handlers_connection() -> None:
    class Keeps(Plain):
        def on_end(self, connection: vespiary.Connection) -> None:
            pass

    made = Keeps()
    async with serving(made, TCP) as server:
        reset(finished(server, b"a"))
        await until(lambda: made.reasons)
    assert made.reasons[0].kind == "broken"


async def test_a_peer_of_a_unix_socket_that_has_closed_ends_a_plain_handlers_connection(
    tmp_path: Path,
) -> None:
    class Keeps(Plain):
        def on_end(self, connection: vespiary.Connection) -> None:
            pass

    made = Keeps()
    path = tmp_path / "socket"
    async with serving(made, f"unix://{path}"):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
            peer.shutdown(socket.SHUT_WR)
        await until(lambda: made.reasons)
    assert made.reasons[0].side == "remote"


async def test_a_client_that_only_waits_for_the_end_is_notified_behind_unread_messages() -> None:
    async def floods(connection: vespiary.Connection) -> None:
        for _ in range(5_000):
            connection.send(b"a line")
            await connection.drain()
        connection.send_end()
        await connection.wait_closed()

    limits = vespiary.Limits(inbox_messages_max=1)
    async with serving(floods, TCP, framing="line") as server:
        client = vespiary.connect(server.urls[0], framing="line", limits=limits)
        async with client as connection:
            reason = await asyncio.wait_for(connection.wait_closed(), 60)
    assert (reason.side, reason.kind) == ("remote", "closed")


async def test_an_answer_is_not_cut_where_another_task_watches_before_the_first_message() -> None:
    async def answers(connection: vespiary.Connection) -> None:
        watching = asyncio.create_task(connection.wait_closed())
        await until(lambda: connection.statistics().messages_received == 2)
        await asyncio.sleep(0)
        async for message in connection:
            connection.send(message)
        watching.cancel()

    async with serving(answers, TCP, framing="line") as server:
        peer = finished(server, b"a\nb\n")
        assert await asyncio.to_thread(read_all, peer) == b"a\nb\n"
