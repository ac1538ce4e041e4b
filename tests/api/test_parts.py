"""Messages in parts: each has one sender, and the parts of two do not mix."""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import vespiary
from tests.logs import lines

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


async def returns(connection: vespiary.Connection) -> None:
    connection.send_part("half")


async def closes(connection: vespiary.Connection) -> None:
    connection.send_part("half")
    await connection.close()


class Closes(vespiary.Handler):
    def on_open(self, connection: vespiary.Connection) -> None:
        connection.send_part("half")
        connection.close(1001, "bye")


class ClosesOnAThread(vespiary.Handler):
    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        connection.send_part("half")
        connection.close()


class AsyncMessages(vespiary.Handler):
    async def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        connection.send_part("half")
        await connection.close()


@pytest.mark.parametrize(
    ("handler", "options"),
    [
        (returns, {}),
        (closes, {}),
        (Closes, {}),
        (ClosesOnAThread, {"executor": "threads"}),
        (AsyncMessages, {}),
    ],
)
@pytest.mark.parametrize("compression", [None, vespiary.Compression()])
async def test_a_message_that_a_handler_leaves_unfinished_is_not_a_clean_end(
    handler: Any,
    options: dict[str, Any],
    compression: vespiary.Compression | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    websocket = vespiary.WebSocket(compression=compression)
    async with serving(handler, websocket=websocket, **options) as server:
        async with vespiary.connect(server.urls[0], websocket=websocket) as client:
            with contextlib.suppress(vespiary.ConnectionClosed):
                client.send("go")
            reason = await client.wait_closed()
        assert (reason.code, reason.text) == (1011, "a message was left unfinished")
        assert server.statistics().total.handler_errors == 1
    found = [one for one in lines(caplog) if "Message not finished" in one]
    assert len(found) == 1
    assert server.urls[0] in found[0]
    assert "send_part(..., last=True)" in found[0]


@pytest.mark.parametrize("blocks", [False, True])
async def test_a_message_that_a_client_leaves_unfinished_is_not_a_clean_end(
    blocks: bool, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    async with serving(recorder) as server:
        if blocks:

            def leave() -> None:
                with vespiary.sync.connect(server.urls[0]) as client:
                    client.send_part("half")

            await asyncio.to_thread(leave)
        else:
            async with vespiary.connect(server.urls[0]) as client:
                client.send_part("half")
        await until(lambda: recorder.reasons)
    assert recorder.reasons[0].code == 1011
    assert caplog.text.count("Message not finished") == 1


async def test_a_code_of_the_programs_own_ends_a_message_as_it_wants(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fails(connection: vespiary.Connection) -> None:
        connection.send_part("half")
        connection.close(4001, "the file is gone")

    async with serving(fails) as server, vespiary.connect(server.urls[0]) as client:
        reason = await client.wait_closed()
    assert (reason.code, reason.text) == (4001, "the file is gone")
    assert not any("unfinished" in line for line in lines(caplog))


class Slowly(vespiary.Handler):
    """Sends a message whose last part comes from a timer, once the server stops."""

    def __init__(self, *, finishes: bool) -> None:
        self.finishes = finishes

    def on_open(self, connection: vespiary.Connection) -> None:
        connection.send_part("half")
        if self.finishes:
            connection.set_timer(0.01, self.go_on)

    def go_on(self, connection: vespiary.Connection) -> None:
        if connection.is_shutting_down:
            connection.send_part(", whole", last=True)
        else:
            connection.set_timer(0.01, self.go_on)


async def test_a_stop_waits_for_the_last_part_of_a_message() -> None:
    async with (
        serving(Slowly(finishes=True)) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        stopping = asyncio.create_task(server.stop())
        assert await client.receive() == "half, whole"
        reason = await client.wait_closed()
        await stopping
    assert reason.code == 1001


async def test_a_stop_that_cuts_a_message_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        serving(Slowly(finishes=False)) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        await server.stop(0.2)
        reason = await client.wait_closed()
    assert reason.code == 1011
    assert caplog.text.count("Message not finished") == 1
