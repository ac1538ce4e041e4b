"""The coroutine form: receiving, its conflicts, its cancellation, its end."""

import asyncio
import base64
import contextlib
import contextvars
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

import vespiary

from .kit import TCP, WS, Recorder, echo, send_until_full, serving, turns, until


@pytest.mark.parametrize("url", [WS, TCP])
async def test_iteration_ends_when_the_peer_closes_cleanly(url: str) -> None:
    heard = []
    ended = asyncio.Event()

    async def listen(connection: vespiary.Connection) -> None:
        heard.extend([message async for message in connection])
        ended.set()

    async with serving(listen, url) as server:
        async with vespiary.connect(server.urls[0]) as client:
            client.send(b"only")
        await ended.wait()
    assert heard == [b"only"]


@pytest.mark.parametrize("url", [WS, TCP])
async def test_iteration_raises_when_the_connection_breaks(url: str) -> None:
    outcome: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def listen(connection: vespiary.Connection) -> None:
        try:
            async for _ in connection:
                pass
        except vespiary.ConnectionClosed as error:
            outcome.set_result(error)
        else:
            outcome.set_exception(AssertionError("it ended as if all were well"))

    async with serving(listen, url) as server:
        client = await vespiary.connect(server.urls[0])
        client.abort()
        error = await outcome
    assert isinstance(error, vespiary.RemoteError)
    assert error.reason.kind == "broken"


async def test_the_connection_closes_when_the_function_returns() -> None:
    async def greet(connection: vespiary.Connection) -> None:
        connection.send("hello")

    async with serving(greet) as server:
        client = await vespiary.connect(server.urls[0])
        assert await client.receive() == "hello"
        with pytest.raises(vespiary.RemoteClosed) as closed:
            await client.receive()
        assert closed.value.code == 1000
        with pytest.raises(vespiary.RemoteClosed):
            await client.receive()


async def test_every_message_before_the_end_is_received() -> None:
    async def send_many(connection: vespiary.Connection) -> None:
        for number in range(60):
            connection.send(str(number))

    async with serving(send_many) as server, vespiary.connect(server.urls[0]) as client:
        await client.wait_closed()
        assert [message async for message in client] == [str(number) for number in range(60)]


async def test_receive_after_a_streams_end_tells_who_ended_it() -> None:
    outcome: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def listen(connection: vespiary.Connection) -> None:
        async for _ in connection:
            pass
        try:
            await connection.receive()
        except Exception as error:
            outcome.set_result(error)
        connection.send(b"a last word")

    async with serving(listen, TCP) as server:
        client = await vespiary.connect(server.urls[0], half_close=True)
        client.send_end()
        assert await client.receive() == b"a last word"
        error = await outcome
        assert isinstance(error, vespiary.RemoteClosed)
        with pytest.raises(vespiary.SendRefused, match="send_end"):
            client.send(b"more")
        await client.wait_closed()


async def test_a_websocket_has_no_half_close() -> None:
    async with serving(echo) as server, vespiary.connect(server.urls[0]) as client:
        with pytest.raises(vespiary.SendRefused, match="close"):
            client.send_end()
        client.send("still open")
        assert await client.receive() == "still open"


async def test_two_receivers_conflict_and_the_first_continues() -> None:
    async with serving(echo) as server, vespiary.connect(server.urls[0]) as client:
        first = asyncio.ensure_future(client.receive())
        await asyncio.sleep(0)
        with pytest.raises(vespiary.ReceiveConflict):
            await client.receive()
        with pytest.raises(vespiary.ReceiveConflict):
            await anext(client)
        client.send("x")
        assert await first == "x"


async def test_a_handlers_connection_cannot_be_received_from() -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]):
        await until(lambda: recorder.connections)
        with pytest.raises(RuntimeError, match="on_message"):
            await recorder.connections[0].receive()


async def test_a_timeout_of_receive_loses_no_message() -> None:
    async with serving(echo) as server, vespiary.connect(server.urls[0]) as client:
        for number in range(10):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await client.receive()
            client.send(str(number))
            assert await client.receive() == str(number)


async def test_wait_for_around_receive_loses_no_message() -> None:
    async with serving(echo) as server, vespiary.connect(server.urls[0]) as client:
        for number in range(10):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.receive(), 0.001)
            client.send(str(number))
            assert await asyncio.wait_for(client.receive(), 5) == str(number)
            client.send("again")
            assert await asyncio.wait_for(anext(client), 5) == "again"


async def test_no_message_is_lost_however_receive_is_cancelled() -> None:
    """Cancelled before the message, after it, and in the very same turn."""
    async with serving(echo) as server, vespiary.connect(server.urls[0]) as client:
        heard = []
        for number in range(200):
            client.send(str(number))
            task = asyncio.ensure_future(client.receive())
            for _ in range(number % 8):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                heard.append(await task)
        while len(heard) < 200:
            heard.append(await client.receive())
        assert heard == [str(number) for number in range(200)]


async def test_a_cancelled_receiver_makes_room_for_another() -> None:
    async with serving(echo) as server, vespiary.connect(server.urls[0]) as client:
        task = asyncio.ensure_future(client.receive())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        client.send("x")
        assert await client.receive() == "x"


@pytest.mark.parametrize("arguments", [(), ("why",), (None,)])
@pytest.mark.parametrize("form", ["receive", "timeout", "iteration", "handler"])
async def test_a_cancelled_receiver_gets_the_message_of_its_cancellation(
    form: str, arguments: tuple[object, ...]
) -> None:
    seen = []
    tasks: list[asyncio.Task[Any]] = []

    async def receive(connection: vespiary.Connection) -> None:
        try:
            if form == "timeout":
                await connection.receive(timeout=60)
            elif form == "iteration":
                await anext(connection)
            else:
                await connection.receive()
        except asyncio.CancelledError as error:
            seen.append(error.args)
            raise

    async def handler(connection: vespiary.Connection) -> None:
        tasks.append(asyncio.ensure_future(receive(connection)))
        with contextlib.suppress(asyncio.CancelledError):
            await tasks[0]

    async with serving(handler) as server, vespiary.connect(server.urls[0]) as client:
        if form != "handler":
            tasks.append(asyncio.ensure_future(receive(client)))
        await until(lambda: tasks)
        for _ in range(3):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel(*arguments)
        await asyncio.wait(tasks)
    # Each receiver, whichever there is; a Future of asyncio's own has the same.
    expected = () if arguments in ((), (None,)) else arguments
    assert seen == [expected] * len(tasks)


async def test_receivers_can_be_gathered_and_waited_for() -> None:
    async with (
        serving(echo) as server,
        vespiary.connect(server.urls[0]) as one,
        vespiary.connect(server.urls[0]) as other,
    ):
        one.send("1")
        other.send("2")
        assert list(await asyncio.gather(one.receive(), other.receive())) == ["1", "2"]
        tasks = {asyncio.ensure_future(it.receive()) for it in (one, other)}
        one.send("first")
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == ["first"]
        other.send("second")
        assert await waiting.pop() == "second"


async def test_a_message_that_is_a_tuple_of_nothing_special_survives_stopiteration() -> None:
    async with serving(echo) as server, vespiary.connect(server.urls[0]) as client:
        client.send(b"")
        assert await client.receive() == b""
        client.send("")
        assert await client.receive() == ""


async def test_a_handlers_task_keeps_its_context() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")

    async def remember(connection: vespiary.Connection) -> None:
        name.set(await connection.receive())
        async for _ in connection:
            await asyncio.sleep(0)
            connection.send(name.get())

    async with (
        serving(remember) as server,
        vespiary.connect(server.urls[0]) as one,
        vespiary.connect(server.urls[0]) as other,
    ):
        one.send("one")
        other.send("other")
        for client, expected in ((one, "one"), (other, "other"), (one, "one")):
            client.send("?")
            assert await client.receive() == expected
    assert name.get(None) is None


async def test_the_current_task_in_a_handler_is_its_own() -> None:
    tasks = set()

    async def note(connection: vespiary.Connection) -> None:
        async for _ in connection:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task.get_name())
            connection.send("noted")

    async with serving(note) as server, vespiary.connect(server.urls[0]) as client:
        for _ in range(5):
            client.send("x")
            assert await client.receive() == "noted"
    assert len(tasks) == 1


async def test_handlers_may_call_out_while_they_are_called() -> None:
    """A chain of servers, each of which asks the next one."""

    def asking(url: str) -> vespiary.handler.AsyncHandler:
        async def ask(connection: vespiary.Connection) -> None:
            async with vespiary.connect(url) as onward:
                async for message in connection:
                    onward.send(message)
                    connection.send(await onward.receive())

        return ask

    server = vespiary.Server()
    async with serving(echo) as last, server:
        server.add(asking(last.urls[0]), WS)
        for _ in range(4):
            server.add(asking(server.urls[-1]), WS)
        async with vespiary.connect(server.urls[-1]) as client:
            for number in range(20):
                client.send(str(number))
                assert await client.receive() == str(number)


async def test_a_full_inbox_holds_the_peer_back() -> None:
    released = asyncio.Event()
    received = 0

    async def lazy(connection: vespiary.Connection) -> None:
        nonlocal received
        await released.wait()
        async for _ in connection:
            received += 1

    limits = vespiary.Limits(inbox_messages_max=4)
    async with (
        serving(lazy, limits=limits) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        piece = bytes(32 << 10)
        sent = await send_until_full(client, piece, most=2000)
        # What was received, but for what the kernel holds, is not more than the inbox and a read.
        assert server.statistics().total.messages_received <= 16
        released.set()
        await until(lambda: received == sent)


async def test_a_server_that_stops_gives_coroutines_what_was_received() -> None:
    heard = []
    first = asyncio.Event()

    async def slow(connection: vespiary.Connection) -> None:
        async for message in connection:
            first.set()
            await turns()
            heard.append(message)
            connection.send(message)

    async with serving(slow) as server:
        client = await vespiary.connect(server.urls[0])
        for number in range(5):
            client.send(str(number))
        await first.wait()
        await until(lambda: server.statistics().total.messages_received == 5)
        await server.stop()
    assert heard == [str(number) for number in range(5)]
    assert [message async for message in client] == heard
    assert (await client.wait_closed()).code == 1001


@pytest.mark.parametrize("ending", [b"\x88\x02\x03\xe8", b"\xff\x00", b"\x81\x02\xc3\x28"])
async def test_a_task_answers_the_messages_before_a_close_or_a_fault(ending: bytes) -> None:
    """What comes in one piece is answered in order, as a handler's methods answer it."""
    requested = asyncio.Event()
    rest = bytearray()

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = head.partition("Sec-WebSocket-Key: ")[2].partition("\r\n")[0]
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_value(key) + b"\r\n\r\n"
        )
        await requested.wait()
        writer.write(b"\x81\x03one\x82\x03two" + ending)
        writer.write_eof()
        rest.extend(await reader.read())
        writer.close()

    async with await asyncio.start_server(server, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        connection = await vespiary.connect(f"ws://127.0.0.1:{port}", echo)
        requested.set()
        await connection.wait_closed()
        await until(lambda: rest)
    frames = list(unmasked_frames(bytes(rest)))
    assert frames[:2] == [(0x81, b"one"), (0x82, b"two")]
    assert [opcode for opcode, _ in frames[2:]] == [0x88]


def accept_value(key: str) -> bytes:
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return base64.b64encode(digest)


def unmasked_frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The small masked frames in some bytes."""
    while data:
        length = data[1] & 0x7F
        key, payload = data[2:6], data[6 : 6 + length]
        yield data[0], bytes(byte ^ key[place % 4] for place, byte in enumerate(payload))
        data = data[6 + length :]
