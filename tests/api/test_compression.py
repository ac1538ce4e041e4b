"""permessage-deflate from Python: options, choices, statistics, and bombs."""

import asyncio
import base64
import os
import random
import re
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import vespiary
from tests.api.kit import until
from vespiary import Compression, ConfigurationError, WebSocket

TAKING_OVER = Compression(server_context_takeover=True, client_window_bits=15)
ALONE = Compression(client_context_takeover=False)
RECORD = '{"id": %d, "name": "bee", "size": %d}'
TAIL = b"\x00\x00\xff\xff"


def feed(count: int, seed: int = 1) -> str:
    """JSON-like records, alike and not the same."""
    number = random.Random(seed)
    return "[" + ", ".join(RECORD % (number.randrange(10**6), n) for n in range(count)) + "]"


class Echo(vespiary.Handler):
    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        connection.send(message)


@asynccontextmanager
async def serving(
    handler: vespiary.Handler,
    compression: Compression | None = None,
    limits: vespiary.Limits | None = None,
) -> AsyncIterator[tuple[vespiary.Server, str]]:
    server = vespiary.Server()
    websocket = WebSocket(compression=compression)
    server.add(handler, "ws://127.0.0.1:0", websocket=websocket, limits=limits)
    async with server:
        yield server, server.statistics().endpoints[0].url


class Peer:
    """A client by hand, whose DEFLATE is zlib's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.answer = ""
        self.deflater = zlib.compressobj(wbits=-15)
        self.inflater = zlib.decompressobj(wbits=-15)

    @classmethod
    async def open(cls, url: str, offer: str = "permessage-deflate") -> "Peer":
        host, port = url.removeprefix("ws://").rstrip("/").split(":")
        peer = cls(*await asyncio.open_connection(host, int(port)))
        key = base64.b64encode(bytes(16)).decode()
        peer.writer.write(
            f"GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Extensions: {offer}\r\n\r\n".encode()
        )
        head = (await peer.reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 101 "), head
        found = re.search(r"Sec-WebSocket-Extensions: (.*)\r\n", head)
        peer.answer = found[1] if found else ""
        return peer

    def write(self, first: int, payload: bytes) -> None:
        """A frame with this first byte, masked with zeros."""
        length = len(payload)
        if length < 126:
            head = bytes([first, 0x80 | length])
        elif length < 1 << 16:
            head = bytes([first, 0xFE]) + length.to_bytes(2, "big")
        else:
            head = bytes([first, 0xFF]) + length.to_bytes(8, "big")
        self.writer.write(head + bytes(4) + payload)

    def deflate(self, message: bytes) -> bytes:
        packed = self.deflater.compress(message) + self.deflater.flush(zlib.Z_SYNC_FLUSH)
        return packed.removesuffix(TAIL)

    async def frame(self) -> tuple[int, bytes]:
        first, length = await self.reader.readexactly(2)
        if length >= 126:
            extended = await self.reader.readexactly(2 if length == 126 else 8)
            length = int.from_bytes(extended, "big")
        return first, await self.reader.readexactly(length)

    async def message(self) -> bytes:
        first, payload = await self.frame()
        assert first & 0x80, "the messages here are not cut"
        return self.inflater.decompress(payload + TAIL) if first & 0x40 else payload

    async def close_code(self) -> int:
        first, payload = await self.frame()
        assert first == 0x88, (first, payload[:20])
        return int.from_bytes(payload[:2], "big")


@pytest.mark.parametrize(
    "fields",
    [
        {"level": 10},
        {"level": -1},
        {"level": True},
        {"memory_level": 0},
        {"memory_level": 10},
        {"threshold_bytes": -1},
        {"threshold_bytes": 1.5},
        {"server_window_bits": 7},
        {"client_window_bits": 16},
        {"server_context_takeover": 1},
        {"client_context_takeover": None},
    ],
)
def test_a_field_that_cannot_be_is_refused_by_name(fields: dict[str, object]) -> None:
    (name,) = fields
    with pytest.raises(ConfigurationError, match=f"Compression.{name} must be ") as caught:
        Compression(**fields)  # type: ignore[arg-type]
    assert caught.value.subject == name


def test_compression_takes_nothing_else_for_itself() -> None:
    with pytest.raises(ConfigurationError, match=r"WebSocket\.compression"):
        WebSocket(compression=True)  # type: ignore[arg-type]


async def test_nothing_is_compressed_unless_both_ends_want_it() -> None:
    for ours, theirs in ((None, None), (TAKING_OVER, None), (None, TAKING_OVER)):
        async with serving(Echo(), ours) as (server, url):
            async with vespiary.connect(url, websocket=WebSocket(compression=theirs)) as connection:
                assert connection.extensions == []
                connection.send(feed(100), compress=True)
                assert await connection.receive() == feed(100)
            assert server.statistics().total.compression.messages_received == 0


@pytest.mark.parametrize("ours", [TAKING_OVER, ALONE, Compression()])
@pytest.mark.parametrize("theirs", [TAKING_OVER, ALONE, Compression(server_window_bits=9)])
async def test_messages_pass_whatever_both_ends_agree_on(
    ours: Compression, theirs: Compression
) -> None:
    messages: list[str | bytes] = ["", "short", feed(5), feed(1000), b"", bytes(70_000)]
    messages += [feed(1000).encode(), *messages]
    asked = WebSocket(compression=theirs)
    async with (
        serving(Echo(), ours) as (_, url),
        vespiary.connect(url, websocket=asked) as connection,
    ):
        (agreed,) = connection.extensions
        assert agreed.startswith("permessage-deflate")
        for message in messages:
            connection.send(message)
            assert await connection.receive() == message
        told = connection.statistics().compression
    assert told.messages_sent == told.messages_received == 5
    assert told.original_bytes_sent == sum(len(m) for m in messages if len(m) >= 256)
    assert told.ratio_sent > 3
    assert told.ratio_received > 3


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=9",
        "permessage-deflate; mystery, permessage-deflate; server_max_window_bits=8",
    ],
)
async def test_zlib_reads_what_is_sent_and_is_read(offer: str) -> None:
    number = random.Random(7)
    async with serving(Echo(), TAKING_OVER) as (_, url):
        peer = await Peer.open(url, offer)
        assert peer.answer.startswith("permessage-deflate")
        for _ in range(60):
            kind = number.randrange(3)
            length = number.choice([0, 1, 10, 300, 2000, 40_000])
            message = (
                number.randbytes(length)
                if kind == 0
                else feed(length // 30, number.randrange(3)).encode()
                if kind == 1
                else bytes(length)
            )
            peer.write(0xC2, peer.deflate(message))
            assert await peer.message() == message
        peer.writer.close()


async def test_a_message_may_be_chosen_to_be_compressed_or_not() -> None:
    class Chooser(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
            connection.send("short", compress=True)
            connection.send("long" * 1000, compress=False)
            connection.send("long" * 1000, compress=None)
            connection.send("short")
            connection.send_part("part", compress=False)
            connection.send_part("!", last=True)
            with pytest.raises(TypeError):
                connection.send("x", comprss=True)  # type: ignore[call-arg]
            with pytest.raises(TypeError):
                connection.send("x", compress="yes")  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                connection.send()  # type: ignore[call-arg]

    async with serving(Chooser(), TAKING_OVER) as (_, url):
        peer = await Peer.open(url)
        peer.write(0x81, b"go")
        firsts = [(await peer.frame())[0] for _ in range(6)]
        assert firsts == [0xC1, 0x81, 0xC1, 0x81, 0x01, 0x80]
        peer.writer.close()


async def test_another_thread_may_choose_too() -> None:
    class Threaded(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
            asyncio.get_running_loop().run_in_executor(
                None, lambda: connection.send("short", compress=True)
            )

    async with serving(Threaded(), TAKING_OVER) as (_, url):
        peer = await Peer.open(url)
        peer.write(0x81, b"go")
        assert (await peer.frame())[0] == 0xC1
        peer.writer.close()


async def test_a_published_message_is_compressed_for_those_who_agreed() -> None:
    class Subscriber(vespiary.Handler):
        def on_open(self, connection: vespiary.Connection) -> None:
            connection.subscribe("news")

    async with serving(Subscriber(), ALONE) as (server, url):
        peers = [await Peer.open(url, offer) for offer in ("permessage-deflate", "x-none")]
        await until(lambda: server.statistics().total.connections_open == 2)
        assert server.publish("news", feed(100)) == 2
        assert server.publish("news", feed(100), compress=False) == 2
        assert server.publish("news", "short", compress=True) == 2
        firsts = [[(await peer.frame())[0] for _ in range(3)] for peer in peers]
        assert firsts == [[0xC1, 0x81, 0xC1], [0x81, 0x81, 0x81]]
        for peer in peers:
            peer.writer.close()


def resident() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def test_bombs_are_refused_with_1009_and_take_no_memory() -> None:
    limits = vespiary.Limits(message_bytes_max=1 << 20)
    deflater = zlib.compressobj(9, wbits=-15)
    block = bytes(1 << 20)
    bomb = b"".join(deflater.compress(block) for _ in range(256))
    bomb += deflater.flush(zlib.Z_SYNC_FLUSH)
    assert len(bomb) < 300_000, "a thousandfold of it"
    async with serving(Echo(), TAKING_OVER, limits) as (server, url):
        before = resident()
        for fragments in (1, 1000):
            peers = [await Peer.open(url) for _ in range(8)]
            for peer in peers:
                step = len(bomb) // fragments + 1
                cuts = [bomb[at : at + step] for at in range(0, len(bomb), step)]
                peer.write(0x42, cuts[0])
                for cut in cuts[1:]:
                    peer.write(0x00, cut)
            for peer in peers:
                assert await peer.close_code() == 1009
                peer.writer.close()
        grown = resident() - before
        told = server.statistics().total
    assert told.limits_reached == {"message_bytes_max": 16}
    assert told.compression.original_bytes_received <= 16 * ((1 << 20) + (64 << 10))
    # Sixteen bombs of 256 MiB; what grows is what the peers here have written and kept.
    assert grown < 64 << 20, f"{grown >> 20} MiB"


async def test_a_bomb_within_a_bomb_is_a_message_like_any_other() -> None:
    inner = zlib.compress(bytes(1 << 20), 9)
    async with serving(Echo(), TAKING_OVER) as (_, url):
        peer = await Peer.open(url)
        peer.write(0xC2, peer.deflate(inner))
        assert await peer.message() == inner, "only the protocol's own layer is taken off"
        peer.writer.close()


async def test_a_compressed_message_of_no_bytes_is_an_empty_one() -> None:
    async with serving(Echo(), TAKING_OVER) as (_, url):
        peer = await Peer.open(url)
        peer.write(0xC1, b"")
        assert await peer.message() == b""
        peer.writer.close()


@pytest.mark.parametrize("packed", [b"\xff\xff", b"\xf2\x48\xcd", b"\xf2\x00\x11\x00\x00"])
async def test_what_cannot_be_inflated_is_refused_with_1007(packed: bytes) -> None:
    async with serving(Echo(), TAKING_OVER) as (_, url):
        peer = await Peer.open(url)
        peer.write(0xC1, packed)
        assert await peer.close_code() == 1007
        peer.writer.close()


async def test_a_reference_beyond_the_agreed_window_is_refused_with_1007() -> None:
    number = random.Random(3)
    message = number.randbytes(4000)
    small = Compression(client_window_bits=9)
    async with serving(Echo(), small) as (_, url):
        peer = await Peer.open(url, "permessage-deflate; client_max_window_bits")
        assert "client_max_window_bits=9" in peer.answer
        peer.write(0xC2, peer.deflate(message))
        assert await peer.message() == message
        # Its compressor has 32 KiB, and refers to what the server was asked not to keep.
        peer.write(0xC2, peer.deflate(message))
        assert await peer.close_code() == 1007
        peer.writer.close()


async def test_what_a_connection_holds_is_reported_and_given_back() -> None:
    async with serving(Echo(), TAKING_OVER) as (server, url):
        peer = await Peer.open(url)
        assert server.statistics().total.compression.memory_bytes == 0
        peer.write(0xC1, peer.deflate(feed(100).encode()))
        await peer.message()
        held = server.statistics().total.compression.memory_bytes
        assert 360 << 10 < held < 420 << 10
        peer.writer.close()
        await until(lambda: server.statistics().total.connections_closed)
        assert server.statistics().total.compression.memory_bytes == 0
