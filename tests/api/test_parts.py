"""Messages in parts: each has one sender, and the parts of two do not mix."""

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import vespiary

from .kit import TCP, Echo, Recorder, serving, until

Send = Callable[[vespiary.Connection], Awaitable[None]]


async def in_a_task(connection: vespiary.Connection) -> None:
    async def send() -> None:
        connection.send_part("b", last=True)

    await asyncio.create_task(send(), context=contextvars.Context())


async def in_a_thread(connection: vespiary.Connection) -> None:
    def send() -> None:
        connection.send_part("b", last=True)

    await asyncio.get_running_loop().run_in_executor(None, send)


async def in_a_timer(connection: vespiary.Connection) -> None:
    done = asyncio.get_running_loop().create_future()

    def send(_: vespiary.Connection) -> None:
        try:
            connection.send_part("b", last=True)
        except vespiary.SendRefused as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    connection.set_timer(0, send)
    await done


@pytest.mark.parametrize("other", [in_a_task, in_a_thread, in_a_timer])
@pytest.mark.parametrize("begins", ["in a task", "in a thread"])
async def test_a_part_of_another_sender_is_refused_and_says_what_to_do(
    begins: str, other: Send
) -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]) as client:
        begun, go_on = threading.Event(), threading.Event()

        def send() -> None:
            client.send_part("a")
            begun.set()
            go_on.wait(20)
            client.send_part("c", last=True)

        async def send_in_a_task() -> None:
            client.send_part("a")
            begun.set()
            await until(go_on.is_set)
            client.send_part("c", last=True)

        sender = send_in_a_task() if begins == "in a task" else asyncio.to_thread(send)
        sending = asyncio.create_task(sender)
        await until(begun.is_set)
        with pytest.raises(vespiary.SendRefused, match=r"one task.*asyncio\.Lock"):
            await other(client)
        go_on.set()
        await sending
        # Then it is the other's turn.
        await other(client)
        await until(lambda: recorder.names.count("message") == 2)
    assert [call[1] for call in recorder.calls if call[0] == "message"] == ["ac", "b"]


async def test_tasks_and_threads_that_a_sender_starts_send_parts_of_its_message() -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]) as client:

        async def send(part: str, last: bool) -> None:
            client.send_part(part, last=last)

        for _ in range(2):
            client.send_part("a")
            await asyncio.create_task(send("b", False))
            await asyncio.to_thread(client.send_part, "c")
            await asyncio.create_task(send("d", True))
        await until(lambda: recorder.names.count("message") == 2)
    assert [call[1] for call in recorder.calls if call[0] == "message"] == ["abcd", "abcd"]


@pytest.mark.parametrize("options", [{}, {"executor": "threads"}])
async def test_a_handler_sends_the_parts_of_a_message_in_several_calls(
    options: dict[str, Any],
) -> None:
    class Relays(Echo):
        def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
            connection.send_part(message, last=message == "c")

    async with (
        serving(Relays, **options) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        for part in "abcabc":
            client.send(part)
        assert [await client.receive(), await client.receive()] == ["abc", "abc"]


async def test_pieces_of_a_stream_may_come_from_any_task() -> None:
    async def echo(connection: vespiary.Connection) -> None:
        async for piece in connection:
            connection.send(piece)

    async with serving(echo, TCP) as server, vespiary.connect(server.urls[0]) as client:
        client.send_part(b"a")
        await in_a_task(client)
        received = b""
        while len(received) < 2:
            received += await client.receive()
        assert received == b"ab"


async def test_messages_in_parts_leave_nothing_in_the_senders_context() -> None:
    async with serving(Recorder()) as server, vespiary.connect(server.urls[0]) as client:
        before = len(contextvars.copy_context())
        for _ in range(10):
            client.send_part("a")
            client.send_part("b", last=True)
        assert len(contextvars.copy_context()) == before
