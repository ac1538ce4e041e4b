"""Back-pressure, and what happens to messages for a peer that does not read."""

import asyncio
import time

import pytest

import vespiary

from .kit import (
    TCP,
    WS,
    Echo,
    Recorder,
    send_until_full,
    serving,
    still_waits,
    turns,
    until,
    virtual_time,
)

PIECE = bytes(range(256)) * 256


class Source(Recorder):
    """Remembers its connections; the test sends on them."""

    def __init__(self) -> None:
        super().__init__()
        self.drained = 0

    def on_drain(self, connection: vespiary.Connection) -> None:
        self.drained += 1


def fill(connection: vespiary.Connection, limit: int = 4000) -> int:
    """Send until the write queue is full; how many messages it took."""
    for number in range(limit):
        try:
            connection.send(PIECE)
        except vespiary.WriteQueueFull:
            return number
    raise AssertionError("the write queue never became full")


@pytest.mark.parametrize("url", [WS, TCP])
async def test_a_full_queue_refuses_and_loses_nothing(url: str) -> None:
    source = Source()
    async with (
        serving(source, url, limits=vespiary.Limits(write_bytes_max=1 << 20)) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        await until(lambda: source.connections)
        connection = source.connections[0]
        client.pause_reading()
        taken = fill(connection)
        with pytest.raises(vespiary.WriteQueueFull) as full:
            connection.send(PIECE)
        assert full.value.queued_bytes == connection.queued_bytes <= 1 << 20
        assert full.value.write_bytes_max == 1 << 20
        assert "drain" in str(full.value)
        assert server.statistics().total.limits_reached == {"write_bytes_max": 1}
        client.resume_reading()
        received = 0
        while received < taken * len(PIECE):
            received += len(await client.receive())
        assert received == taken * len(PIECE)
        await until(lambda: source.drained)
        assert connection.queued_bytes == 0


async def test_drain_waits_for_room_and_then_costs_nothing() -> None:
    source = Source()
    async with serving(source) as server, vespiary.connect(server.urls[0]) as client:
        await until(lambda: source.connections)
        connection = source.connections[0]
        await connection.drain()
        client.pause_reading()
        taken = await send_until_full(connection, PIECE)
        waiting = asyncio.ensure_future(connection.drain())
        assert await still_waits(waiting)
        client.resume_reading()
        await waiting
        assert connection.queued_bytes <= vespiary.Limits().write_low_bytes
        for _ in range(taken):
            assert await client.receive() == PIECE


async def test_drain_raises_when_the_connection_ends() -> None:
    source = Source()
    async with serving(source) as server:
        client = await vespiary.connect(server.urls[0])
        await until(lambda: source.connections)
        connection = source.connections[0]
        client.pause_reading()
        fill(connection)
        waiting = asyncio.ensure_future(connection.drain())
        await asyncio.sleep(0)
        client.abort()
        with pytest.raises(vespiary.ConnectionClosed):
            await waiting
        with pytest.raises(vespiary.ConnectionClosed):
            await connection.drain()


async def test_a_cancelled_drain_disturbs_no_other() -> None:
    source = Source()
    async with serving(source) as server, vespiary.connect(server.urls[0]) as client:
        await until(lambda: source.connections)
        connection = source.connections[0]
        client.pause_reading()
        fill(connection)
        first = asyncio.ensure_future(connection.drain())
        second = asyncio.ensure_future(connection.drain())
        await asyncio.sleep(0)
        first.cancel()
        client.resume_reading()
        reader = asyncio.ensure_future(read_forever(client))
        await second
        assert first.cancelled()
        reader.cancel()


async def read_forever(client: vespiary.Connection) -> None:
    async for _ in client:
        pass


async def test_an_echo_that_is_not_read_stops_reading() -> None:
    async with serving(Echo) as server, vespiary.connect(server.urls[0]) as client:
        client.pause_reading()
        sent = await send_until_full(client, PIECE)
        assert server.statistics().total.write_pauses >= 1
        client.resume_reading()
        for _ in range(sent):
            assert await client.receive() == PIECE


@pytest.mark.parametrize("policy", ["drop-oldest", "drop-newest"])
async def test_policies_that_drop_keep_messages_whole_and_count(policy: str) -> None:
    source = Source()
    limits = vespiary.Limits(write_bytes_max=1 << 20)
    async with (
        serving(source, limits=limits, slow_consumer=policy) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        await until(lambda: source.connections)
        connection = source.connections[0]
        client.pause_reading()
        count = 600
        for number in range(count):
            connection.send(b"%08d" % number + PIECE)
            await asyncio.sleep(0)
        dropped = connection.statistics().messages_dropped
        assert dropped > 0
        assert server.statistics().total.messages_dropped == dropped
        client.resume_reading()
        numbers = []
        for _ in range(count - dropped):
            message = await client.receive()
            assert message[8:] == PIECE
            numbers.append(int(message[:8]))
        assert numbers == sorted(set(numbers))
        assert numbers[0] == 0 or policy == "drop-oldest"
        assert (numbers[-1] == count - 1) == (policy == "drop-oldest")


async def test_the_policy_disconnect_ends_the_connection() -> None:
    source = Source()
    limits = vespiary.Limits(write_bytes_max=1 << 20)
    async with serving(source, limits=limits, slow_consumer="disconnect") as server:
        client = await vespiary.connect(server.urls[0])
        await until(lambda: source.connections)
        connection = source.connections[0]
        client.pause_reading()
        with pytest.raises(vespiary.ConnectionClosed):
            fill(connection)
        await until(lambda: source.reasons)
        assert source.reasons[0].side == "local"
        assert source.reasons[0].kind == "broken"
        assert source.reasons[0].code == 1006, "no close frame is sent"
        assert server.statistics().total.connections_broken == 1
        client.abort()


async def test_reading_can_be_paused_and_resumed_by_the_handler() -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]) as client:
        await until(lambda: recorder.connections)
        recorder.connections[0].pause_reading()
        await turns()
        client.send("held back")
        await turns()
        assert "message" not in recorder.names
        recorder.connections[0].resume_reading()
        await until(lambda: "message" in recorder.names)


@virtual_time
async def test_a_long_pause_is_not_taken_for_the_peers_silence() -> None:
    recorder = Recorder()
    deadlines = vespiary.Deadlines(ping_interval_seconds=5, ping_timeout_seconds=5, idle_seconds=20)
    async with (
        serving(recorder, deadlines=deadlines) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        await until(lambda: recorder.connections)
        recorder.connections[0].pause_reading()
        await asyncio.sleep(60)
        assert recorder.connections[0].is_open
        client.send("and now")
        recorder.connections[0].resume_reading()
        await until(lambda: "message" in recorder.names)


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@virtual_time
async def test_keep_alive_finds_a_peer_that_is_gone() -> None:
    recorder = Recorder()
    deadlines = vespiary.Deadlines(ping_interval_seconds=10, ping_timeout_seconds=10)
    async with serving(recorder, deadlines=deadlines) as server:
        async with vespiary.connect(server.urls[0]) as lively:
            # It takes what comes, and answers nothing: no WebSocket end of ours is behind it.
            gone = await vespiary.connect(server.urls[0].replace("ws:", "tcp:").rstrip("/"))
            gone.send(UPGRADE)
            await until(lambda: recorder.reasons)
            assert "ping_timeout_seconds" in recorder.reasons[0].text
            assert lively.is_open
            assert server.statistics().total.limits_reached == {"ping_timeout_seconds": 1}
        gone.abort()


class Told(Recorder):
    """Remembers the limits that were reported to it."""

    def __init__(self) -> None:
        super().__init__()
        self.limits: list[tuple[str, float]] = []

    def on_limit(self, name: str, value: float) -> None:
        self.limits.append((name, value))


async def test_pings_continue_until_the_timeout_of_the_first_that_is_unanswered() -> None:
    recorder = Told()
    deadlines = vespiary.Deadlines(ping_interval_seconds=0.1, ping_timeout_seconds=0.3)
    async with serving(recorder, deadlines=deadlines) as server:
        start = time.monotonic()
        client = await vespiary.connect(server.urls[0])
        client.pause_reading()
        await until(lambda: recorder.reasons)
        assert time.monotonic() - start > 0.39
        assert "ping_timeout_seconds is 0.3" in recorder.reasons[0].text
        assert recorder.reasons[0].code == 1006
        assert server.statistics().total.limits_reached == {"ping_timeout_seconds": 1}
        assert recorder.limits == [("ping_timeout_seconds", 0.3)]
        client.abort()


@pytest.mark.parametrize("size", [1_000, 10_000, 20_000, 100_000])
async def test_the_write_queue_is_full_when_its_limit_is_nearly_reached(size: int) -> None:
    source = Source()
    most = 1_000_000
    async with (
        serving(source, limits=vespiary.Limits(write_bytes_max=most)) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        await until(lambda: source.connections)
        connection = source.connections[0]
        client.pause_reading()
        refused: vespiary.WriteQueueFull | None = None
        while refused is None:
            try:
                connection.send(bytes(size))
            except vespiary.WriteQueueFull as error:
                refused = error
            # Each message leaves in a batch of its own, or stays.
            await asyncio.sleep(0)
        assert refused.queued_bytes + size > 0.85 * most
        assert f"has {refused.queued_bytes:,} bytes" in str(refused)
        assert f"{size} more" in str(refused)


async def test_a_byte_stream_never_leaves_out_a_piece_that_was_published() -> None:
    source = Source()
    limits = vespiary.Limits(write_bytes_max=300_000, write_high_bytes=100_000)
    async with (
        serving(source, TCP, limits=limits) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        await until(lambda: source.connections)
        source.connections[0].subscribe("pieces")
        client.pause_reading()
        while source.connections[0].is_open:
            server.publish("pieces", PIECE)
            await asyncio.sleep(0)
        await until(lambda: source.reasons)
        assert source.reasons[0].kind == "broken"


@pytest.mark.parametrize("policy", ["drop-oldest", "drop-newest"])
async def test_a_byte_stream_has_no_messages_to_drop(policy: str) -> None:
    with pytest.raises(vespiary.ConfigurationError, match="framing"):
        vespiary.Server().add(Echo, TCP, slow_consumer=policy)  # type: ignore[arg-type]


@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_ping_behind_unread_messages_is_answered_once_they_are_received(side: str) -> None:
    opened: list[vespiary.Connection] = []
    received: list[object] = []
    free = asyncio.Event()

    async def reads_later(connection: vespiary.Connection) -> None:
        opened.append(connection)
        await free.wait()
        async for message in connection:
            received.append(message)

    limits = vespiary.Limits(inbox_messages_max=2)
    async with (
        serving(reads_later, limits=limits) as server,
        vespiary.connect(server.urls[0], limits=limits) as client,
    ):
        await until(lambda: opened)
        sender = opened[0] if side == "client" else client
        for number in range(10):
            sender.send(PIECE)
            sender.send(str(number))
        ping = asyncio.ensure_future(sender.ping())
        statistics = client.statistics if side == "client" else opened[0].statistics
        await until(lambda: statistics().messages_received >= 2)
        assert not ping.done()
        free.set()
        if side == "client":
            received += [await client.receive() for _ in range(20)]
        assert await ping >= 0
        await until(lambda: len(received) == 20)
