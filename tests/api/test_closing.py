"""Ends: codes and reasons, who ended it, and what the errors tell."""

import asyncio
import contextlib
import copy
import pickle
from typing import Any

import pytest
import websockets.asyncio.client

import vespiary

from .kit import TCP, WS, Echo, Recorder, echo, gathered, serving, until, virtual_time


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 1014, 3000, 4999])
async def test_close_codes_and_words_reach_the_other_end(code: int) -> None:
    recorder = Recorder()
    async with serving(recorder) as server:
        client = await vespiary.connect(server.urls[0])
        client.close(code, "für immer")
        local = await client.wait_closed()
        await until(lambda: recorder.reasons)
        assert (local.side, local.kind, local.code) == ("local", "closed", code)
        remote = recorder.reasons[0]
        assert (remote.side, remote.kind, remote.code, remote.text) == (
            "remote",
            "closed" if code in (1000, 1001, 1012) else "broken",
            code,
            "für immer",
        )


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
async def test_codes_that_may_not_be_sent_are_refused(code: int) -> None:
    async with serving(Echo) as server, vespiary.connect(server.urls[0]) as client:
        with pytest.raises(ValueError, match="close code"):
            client.close(code)
        client.send("still open")
        assert await client.receive() == "still open"


async def test_a_reason_that_is_too_long_is_refused() -> None:
    async with serving(Echo) as server, vespiary.connect(server.urls[0]) as client:
        client.send("x")
        with pytest.raises(ValueError, match="123 bytes"):
            client.close(1000, "ü" * 62)
        client.close(1000, "ü" * 61)
        assert (await client.wait_closed()).text == "ü" * 61


async def test_a_close_frame_without_a_code_is_reported_as_1005() -> None:
    recorder = Recorder()
    async with serving(recorder) as server:
        async with websockets.asyncio.client.connect(server.urls[0]) as client:
            await client.close(code=1000)
        await until(lambda: recorder.reasons)
        assert recorder.reasons[0].code == 1000
        reader, writer = await asyncio.open_connection(*server_address(server))
        writer.write(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x88\x80\0\0\0\0")
        assert await reader.read() == b"\x88\x00"
        writer.close()
        await writer.wait_closed()
        await until(lambda: len(recorder.reasons) == 2)
        assert recorder.reasons[1].code == 1005
        assert recorder.reasons[1].kind == "closed"


def server_address(server: vespiary.Server) -> tuple[str, int]:
    host, _, port = server.urls[0].split("/")[2].rpartition(":")
    return host, int(port)


@pytest.mark.parametrize("url", [WS, TCP])
async def test_what_waits_is_written_before_a_close(url: str) -> None:
    async def burst(connection: vespiary.Connection) -> None:
        for _ in range(100):
            connection.send(bytes(100_000))
        connection.close()

    async with (
        serving(burst, url) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        received = 0
        async for message in client:
            received += len(message)
        assert received == 10_000_000


@pytest.mark.parametrize("url", [WS, TCP])
async def test_nothing_can_be_sent_after_a_close(url: str) -> None:
    async with serving(Echo, url) as server:
        client = await vespiary.connect(server.urls[0])
        client.close()
        assert not client.is_open
        with pytest.raises(vespiary.LocalClosed):
            client.send("x")
        client.close()
        await client.wait_closed()
        with pytest.raises(vespiary.LocalClosed):
            client.send("x")
        with pytest.raises(vespiary.LocalClosed):
            client.send_part("x")
        client.close()
        client.abort()
        assert (await client.wait_closed()).side == "local"


@pytest.mark.parametrize("url", [WS, TCP])
async def test_an_abort_is_seen_as_broken_at_both_ends(url: str) -> None:
    recorder = Recorder()
    async with serving(recorder, url) as server:
        client = await vespiary.connect(server.urls[0])
        await until(lambda: recorder.connections)
        client.abort()
        local = await client.wait_closed()
        assert (local.side, local.kind) == ("local", "broken")
        await until(lambda: recorder.reasons)
        remote = recorder.reasons[0]
        assert (remote.side, remote.kind) == ("remote", "broken")
        assert isinstance(remote.error, ConnectionResetError)
        assert server.statistics().total.connections_broken == 1
        with pytest.raises(vespiary.LocalError):
            client.send("x")


async def test_a_handler_may_close_in_every_callback() -> None:
    class Closing(Recorder):
        def __init__(self, where: str) -> None:
            super().__init__()
            self.where = where

        def on_open(self, connection: vespiary.Connection) -> None:
            super().on_open(connection)
            if self.where == "open":
                connection.close(4001, "in open")

        def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
            super().on_message(connection, message)
            connection.send("last")
            connection.close(4001, "in message")
            with pytest.raises(vespiary.LocalClosed):
                connection.send("too late")

        def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
            super().on_close(connection, reason)
            connection.close()
            connection.abort()

    for where in ("open", "message"):
        handler = Closing(where)
        async with serving(handler) as server:
            client = await vespiary.connect(server.urls[0])
            with contextlib.suppress(vespiary.RemoteError):
                client.send("one")
                client.send("two")
            assert (await client.wait_closed()).code == 4001
            heard, error = await gathered(client)
            assert heard == ([] if where == "open" else ["last"])
            assert isinstance(error, vespiary.RemoteError)
        assert handler.names.count("message") == (0 if where == "open" else 1)
        assert len(handler.reasons) == 1


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1008, 1011, 1012, 1013, 3000, 4000])
async def test_iteration_ends_silently_where_the_peer_says_that_it_is_done(code: int) -> None:
    async def goodbye(connection: vespiary.Connection) -> None:
        connection.send("last")
        connection.close(code)

    is_clean = code in (1000, 1001, 1012)
    async with serving(goodbye) as server, vespiary.connect(server.urls[0]) as client:
        heard, error = await gathered(client)
        assert heard == ["last"]
        assert error is None if is_clean else isinstance(error, vespiary.RemoteError)
        with pytest.raises(vespiary.RemoteClosed if is_clean else vespiary.RemoteError):
            await client.receive()


async def test_a_peer_that_answers_no_close_is_cut_after_close_seconds() -> None:
    recorder = Recorder()
    deadlines = vespiary.Deadlines(close_seconds=0.1)
    async with serving(recorder, TCP, deadlines=deadlines) as server:
        reader, writer = await asyncio.open_connection(*server_address(server))
        await until(lambda: recorder.connections)
        recorder.connections[0].close()
        assert await reader.read() == b""
        await until(lambda: recorder.reasons)
        assert recorder.reasons[0].side == "local"
        writer.transport.abort()


async def test_close_reason_is_none_until_the_connection_has_ended() -> None:
    seen: list[vespiary.CloseReason | None] = []

    class Looking(Recorder):
        def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
            seen.append(connection.close_reason)
            super().on_close(connection, reason)

    recorder = Looking()
    deadlines = vespiary.Deadlines(close_seconds=0.2)
    async with serving(recorder, TCP, deadlines=deadlines) as server:
        _, writer = await asyncio.open_connection(*server_address(server))
        await until(lambda: recorder.connections)
        connection = recorder.connections[0]
        before = connection.close_reason
        connection.close()
        assert (before, connection.close_reason) == (None, None)
        await until(lambda: connection.close_reason or seen)
        assert recorder.reasons == seen == [connection.close_reason]
        writer.transport.abort()


@virtual_time
async def test_a_slow_reader_gets_all_that_a_coroutine_has_sent_before_it_returned() -> None:
    length = 12 << 20

    async def reply(connection: vespiary.Connection) -> None:
        await connection.receive()
        connection.send(b"x" * length)

    deadlines = vespiary.Deadlines(close_seconds=1, drain_seconds=3600)
    async with serving(reply, TCP, deadlines=deadlines) as server:
        client = await vespiary.connect(server.urls[0])
        client.send(b"go")
        got = 0
        stopping = None
        async for piece in client:
            got += len(piece)
            await asyncio.sleep(0.1)
            if stopping is None and got > length // 4:
                # The stop of the server leaves it the time, too.
                stopping = asyncio.ensure_future(server.stop())
        assert got == length
        assert stopping is not None
        await stopping


async def test_wait_closed_can_be_awaited_by_many_and_afterwards() -> None:
    async with serving(echo) as server:
        client = await vespiary.connect(server.urls[0])
        waiting = [asyncio.ensure_future(client.wait_closed()) for _ in range(3)]
        cancelled = asyncio.ensure_future(client.wait_closed())
        await asyncio.sleep(0)
        cancelled.cancel()
        client.close(4000)
        reasons = await asyncio.gather(*waiting)
        assert [reason.code for reason in reasons] == [4000] * 3
        assert (await client.wait_closed()).code == 4000
        assert client.close_reason == reasons[0]


async def test_an_ended_connection_still_answers_questions() -> None:
    async with serving(echo) as server:
        client = await vespiary.connect(server.urls[0])
        client.data = "kept"
        client.send("x")
        await client.receive()
        client.close()
        await client.wait_closed()
        assert client.data == "kept"
        assert not client.is_open
        assert client.queued_bytes == 0
        assert client.statistics().messages_sent == 1
        assert client.statistics().messages_received == 1
        assert "closed by this end" in repr(client)
        client.pause_reading()
        client.resume_reading()
        with pytest.raises(vespiary.LocalClosed):
            client.set_timer(1, print)
        with pytest.raises(vespiary.LocalClosed):
            client.ping()


async def test_errors_survive_copying_and_pickling() -> None:
    async with serving(echo) as server:
        client = await vespiary.connect(server.urls[0])
        client.close(4000, "words")
        await client.wait_closed()
        with pytest.raises(vespiary.LocalClosed) as closed:
            client.send("x")
    for again in (copy.copy(closed.value), pickle.loads(pickle.dumps(closed.value))):
        assert type(again) is vespiary.LocalClosed
        assert again.code == 4000
        assert str(again) == str(closed.value)
    assert "words" in str(closed.value)


def test_one_except_catches_every_end() -> None:
    for kind in (
        vespiary.LocalClosed,
        vespiary.RemoteClosed,
        vespiary.LocalError,
        vespiary.RemoteError,
    ):
        assert issubclass(kind, vespiary.ConnectionClosed)
        assert issubclass(kind, vespiary.VespiaryError)
    assert issubclass(vespiary.WriteQueueFull, vespiary.SendRefused)
    assert not issubclass(vespiary.SendRefused, vespiary.ConnectionClosed)


@pytest.mark.parametrize("payload", [b"", b"x" * 125])
async def test_pings_are_answered_by_other_implementations(payload: bytes) -> None:
    recorder = Recorder()
    async with (
        serving(recorder) as server,
        websockets.asyncio.client.connect(server.urls[0]) as client,
    ):
        await until(lambda: recorder.connections)
        before = recorder.connections[0].statistics().bytes_received
        assert await recorder.connections[0].ping(payload) >= 0
        # An empty payload becomes one of eight bytes, so that its pong can be known from others.
        size = len(payload) or 8
        assert recorder.connections[0].statistics().bytes_received == before + 6 + size
        await (await client.ping(b"from them"))
        with pytest.raises(ValueError, match="125"):
            recorder.connections[0].ping(b"x" * 126)


@pytest.mark.parametrize("code", [99999, -1, 0, 999, 1005, 1006, 1015, 2999, 5000, 1 << 70])
async def test_a_code_that_may_not_be_sent_is_a_value_error_that_says_which_may(code: int) -> None:
    async with serving(Echo) as server, vespiary.connect(server.urls[0]) as client:
        with pytest.raises(ValueError, match=rf"{code} is not a close code .* except 1004 to 1006"):
            client.close(code)


@pytest.mark.parametrize("code", ["bye", None, 1000.0])
async def test_a_code_that_is_not_a_number_is_a_type_error_that_shows_the_order(code: Any) -> None:
    async with serving(Echo) as server, vespiary.connect(server.urls[0]) as client:
        with pytest.raises(TypeError, match=r'close\(1000, "bye"\)'):
            client.close(code)
