"""The filters of `vespiary.filters`: rate limits, the dump of bytes, and compression."""

import asyncio
import functools
import logging
import threading
import zlib
from contextlib import suppress

import pytest

import vespiary
from tests.logs import lines, records
from vespiary.filters import ByteDump, Deflate, Filter, RateLimit
from vespiary.testing import check_filter

from .kit import TCP, WS, Echo, Recorder, serving, streams, until, virtual_time

IN_TIME = 0.1
"""How much less than the exact time a transfer may take, as a part of it: bursts."""


@virtual_time
@pytest.mark.parametrize("url", [TCP, WS])
async def test_what_is_sent_is_limited_in_bytes_per_second(url: str) -> None:
    slow = functools.partial(RateLimit, sent=100_000)
    handler = Recorder()
    loop = asyncio.get_running_loop()
    async with (
        serving(handler, url, filters=[slow]) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        await until(lambda: handler.connections)
        began = loop.time()
        for _ in range(10):
            handler.connections[0].send(bytes(50_000))
        received = 0
        while received < 500_000:
            received += len(await client.receive())
        took = loop.time() - began
    assert 5 * (1 - IN_TIME) <= took < 5.5


@virtual_time
async def test_what_is_received_is_limited_in_bytes_per_second() -> None:
    slow = functools.partial(RateLimit, received=100_000)
    loop = asyncio.get_running_loop()
    async with (
        serving(Echo, TCP, filters=[slow]) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        began = loop.time()
        for _ in range(10):
            client.send(bytes(50_000))
        received = 0
        while received < 500_000:
            received += len(await client.receive())
        took = loop.time() - began
    # The last batch has its time after it.
    assert 3.5 <= took < 5.5


@virtual_time
async def test_what_waits_for_its_time_counts_for_the_write_queue() -> None:
    slow = functools.partial(RateLimit, sent=1000)
    handler = Recorder()
    async with (
        serving(handler, TCP, filters=[slow]) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        await until(lambda: handler.connections)
        connection = handler.connections[0]
        connection.send(bytes(5000))
        await asyncio.sleep(0.5)
        assert 3000 <= connection.queued_bytes < 4000
        # A close waits for what is queued.
        connection.close()
        received = b""
        async for piece in client:
            received += piece
        assert len(received) == 5000


@virtual_time
async def test_a_burst_passes_at_once_after_a_pause() -> None:
    slow = functools.partial(RateLimit, sent=1000, burst_bytes=3000)
    handler = Recorder()
    loop = asyncio.get_running_loop()
    async with (
        serving(handler, TCP, filters=[slow]) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        await until(lambda: handler.connections)
        for _ in range(2):
            began = loop.time()
            handler.connections[0].send(bytes(3000))
            received = 0
            while received < 3000:
                received += len(await client.receive())
            assert loop.time() - began < 0.5
            await asyncio.sleep(3.1)


@pytest.mark.parametrize(
    "options",
    [
        {"received": 0},
        {"sent": -1},
        {"sent": "1"},
        {"sent": float("nan")},
        {"received": True},
        {"sent": 1, "burst_bytes": 0},
        {"sent": 1, "burst_bytes": 1.5},
    ],
)
def test_the_arguments_of_a_rate_limit_are_checked(options: dict[str, object]) -> None:
    with pytest.raises(vespiary.ConfigurationError):
        RateLimit(**options)  # type: ignore[arg-type] # That is the mistake.


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (ByteDump, {"level": "INFO"}),
        (ByteDump, {"bytes_max": 0}),
        (ByteDump, {"bytes_max": "many"}),
        (Deflate, {"level": 0}),
        (Deflate, {"level": 10}),
        (Deflate, {"batch_bytes_max": 0}),
        (Deflate, {"batch_bytes_max": -1}),
        (Deflate, {"batch_bytes_max": None}),
    ],
)
def test_the_arguments_of_the_other_filters_are_checked(
    cls: type[Filter], options: dict[str, object]
) -> None:
    with pytest.raises(vespiary.ConfigurationError, match=f"{next(iter(options))}= takes"):
        cls(**options)


async def test_rates_are_limited_where_the_handler_is_on_threads(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Blocked(vespiary.Handler):
        def on_open(self, connection: vespiary.Connection) -> None:
            connection.send(bytes(4000))
            may_end.wait(50)

    may_end = threading.Event()
    slow = functools.partial(RateLimit, sent=40_000, received=40_000, burst_bytes=1024)
    async with (
        serving(Blocked(), TCP, filters=[slow], executor="threads") as server,
        streams(server) as (reader, writer),
    ):
        # The filter's timers do not wait for the handler's thread.
        writer.write(bytes(4000))
        await reader.readexactly(4000)
        may_end.set()
    assert not records(caplog, logging.ERROR)


async def test_bytes_are_logged_in_hexadecimal_and_as_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "vespiary.bytes")
    dump = functools.partial(ByteDump, bytes_max=20)
    async with (
        serving(Echo, TCP, filters=[dump]) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        client.send(b"GET \x00\xff and more than sixteen")
        assert len(await client.receive()) == 28
        shown = [line for line in lines(caplog) if " bytes " in line]
    assert shown[0].partition(": ")[2] == (
        "28 bytes received\n"
        "00000000  47 45 54 20 00 ff 20 61 6e 64 20 6d 6f 72 65 20  |GET .. and more |\n"
        "00000010  74 68 61 6e                                      |than|\n"
        "... and 8 more"
    )
    assert shown[1].partition(": ")[2].startswith("28 bytes sent\n")


async def test_a_stream_is_compressed_in_both_directions() -> None:
    handler = Recorder()
    async with serving(handler, TCP, filters=[Deflate], framing="line") as server:
        endpoint = vespiary.Endpoint.parse(server.urls[0])
        reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
        packer, unpacker = zlib.compressobj(), zlib.decompressobj()
        writer.write(packer.compress(b"hello " * 1000 + b"\n") + packer.flush(zlib.Z_SYNC_FLUSH))
        await until(lambda: ("message", b"hello " * 1000) in handler.calls)
        handler.connections[0].send(b"answer")
        plain = b""
        while plain != b"answer\n":
            plain += unpacker.decompress(await reader.read(100))
        writer.close()


async def test_a_batch_that_inflates_to_too_much_resets_its_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = Recorder()
    small = functools.partial(Deflate, batch_bytes_max=1000)
    async with serving(handler, TCP, filters=[small]) as server:
        endpoint = vespiary.Endpoint.parse(server.urls[0])
        _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
        writer.write(zlib.compress(bytes(1_000_000)))
        await until(lambda: handler.reasons)
        assert handler.reasons[0].kind == "broken"
        writer.close()
    assert "batch_bytes_max" in caplog.text


async def test_bytes_behind_the_end_of_a_compressed_stream_reset_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = Recorder()
    async with (
        serving(handler, TCP, filters=[Deflate]) as server,
        streams(server) as (_, writer),
    ):
        writer.write(zlib.compress(b"whole"))
        await until(lambda: ("message", b"whole") in handler.calls)
        assert not handler.reasons
        writer.write(b"more")
        await until(lambda: handler.reasons)
        assert handler.reasons[0].kind == "broken"
    assert "sent 4 bytes behind the end of its compressed stream" in caplog.text


async def test_a_batch_may_inflate_to_just_as_much_as_is_allowed() -> None:
    handler = Recorder()
    small = functools.partial(Deflate, batch_bytes_max=100_000)
    async with (
        serving(handler, TCP, filters=[small]) as server,
        streams(server) as (_, writer),
    ):
        writer.write(zlib.compress(bytes(100_000)))
        await until(lambda: "message" in handler.names)
        assert sum(len(call[1]) for call in handler.calls if call[0] == "message") == 100_000


@pytest.mark.parametrize("made", [None, object(), RateLimit])
async def test_what_makes_no_filter_ends_the_connection_with_a_text_that_says_so(
    caplog: pytest.LogCaptureFixture, made: object
) -> None:
    handler = Recorder()
    async with serving(handler, TCP, filters=[lambda: made]) as server:
        await until_ended(server)
    assert "filters= takes functions that return a vespiary.filters.Filter" in caplog.text


async def test_an_async_opened_of_a_filter_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    class Waiting(Filter):
        async def opened(self, connection: vespiary.Connection) -> None:  # type: ignore[override]
            """It would never run."""

    async with serving(Recorder(), TCP, filters=[Waiting]) as server:
        await until_ended(server)
    assert "which nobody awaits" in caplog.text


async def until_ended(server: vespiary.Server) -> None:
    """Connect, until the server ends the connection."""
    with suppress(OSError):
        async with streams(server) as (reader, _):
            assert await reader.read() == b""


async def test_the_filters_stack() -> None:
    chain = [RateLimit, ByteDump, Deflate]
    async with serving(Echo, TCP, filters=chain, framing="line") as server:
        endpoint = vespiary.Endpoint.parse(server.urls[0])
        reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
        packer, unpacker = zlib.compressobj(), zlib.decompressobj()
        writer.write(packer.compress(b"through\n") + packer.flush(zlib.Z_SYNC_FLUSH))
        plain = b""
        while plain != b"through\n":
            plain += unpacker.decompress(await reader.read(100))
        writer.close()


def test_what_is_cut_and_delayed_passes_the_delivered_filters() -> None:
    check_filter(ByteDump, seeds=2)
    check_filter(functools.partial(RateLimit, received=1e6, sent=1e6), seeds=2)


async def test_a_filter_that_fails_as_its_connection_opens_ends_it() -> None:
    class Failing(vespiary.Filter):
        def opened(self, connection: vespiary.Connection) -> None:
            raise RuntimeError("not today")

    handler = Recorder()
    async with serving(handler, TCP, filters=[Failing]) as server:
        client = await vespiary.connect(server.urls[0])
        with pytest.raises(vespiary.ConnectionClosed):
            await client.receive()
        assert server.statistics().total.handler_errors == 1
