"""WebSocket versions 13 and 8 on one endpoint: who gets which, and what the old one lets pass."""

import asyncio
import base64
import hashlib
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

import vespiary
from vespiary._versions import next_version

from .kit import Echo, Recorder, echo, serving, until

BOTH = vespiary.WebSocket(versions=(13, 8))
OLD = vespiary.WebSocket(versions=(8,))
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

Raw = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def raw(server: vespiary.Server) -> AsyncIterator[Raw]:
    """A socket to the server's first endpoint."""
    host, port = server.urls[0].removeprefix("ws://").rstrip("/").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


async def ask(peer: Raw, version: int, *lines: str, upgrades: bool = True) -> str:
    """Send a request; the head of the answer."""
    reader, writer = peer
    upgrade = ["Upgrade: websocket", "Connection: Upgrade"] if upgrades else []
    fixed = ["GET / HTTP/1.1", "Host: h", *upgrade, f"Sec-WebSocket-Key: {KEY}"]
    head = [*fixed, f"Sec-WebSocket-Version: {version}", *lines]
    writer.write("\r\n".join([*head, "", ""]).encode())
    return (await reader.readuntil(b"\r\n\r\n")).decode()


def frame(first: int, payload: bytes, *, masked: bool = True) -> bytes:
    """A frame; the key of a masked one is zeros."""
    head = bytes([first, len(payload) | (0x80 if masked else 0)])
    return head + (b"\0\0\0\0" if masked else b"") + payload


async def test_a_server_answers_each_client_in_the_version_that_it_names() -> None:
    told: list[tuple[int | None, int | None, bool]] = []

    class Told(Echo):
        def on_request(self, request: vespiary.Request) -> None:
            told.append((request.version, request.connection.version, request.is_upgrade))

    async with serving(Told, websocket=BOTH) as server:
        for version in (13, 8):
            async with raw(server) as peer:
                head = await ask(peer, version)
                assert head.startswith("HTTP/1.1 101 ")
                assert ACCEPT in head
    assert told == [(13, 13, True), (8, 8, True)]


@pytest.mark.parametrize(
    ("versions", "asked", "named"), [((13, 8), 7, "13, 8"), ((13,), 8, "13"), ((8,), 13, "8")]
)
async def test_a_version_that_is_not_spoken_is_answered_426_with_all_that_are(
    versions: Sequence[int], asked: int, named: str
) -> None:
    options = vespiary.WebSocket(versions=versions)
    async with serving(Echo, websocket=options) as server, raw(server) as peer:
        head = await ask(peer, asked)
        assert head.startswith("HTTP/1.1 426 ")
        assert f"\r\nSec-WebSocket-Version: {named}\r\n" in head


async def test_the_handshake_of_version_8_needs_no_upgrade_header_and_that_of_13_does() -> None:
    async with serving(Echo, websocket=BOTH) as server:
        async with raw(server) as peer:
            assert (await ask(peer, 8, upgrades=False)).startswith("HTTP/1.1 101 ")
        async with raw(server) as peer:
            assert (await ask(peer, 13, upgrades=False)).startswith("HTTP/1.1 426 ")


async def test_the_origin_of_version_8_stands_in_its_own_header_and_is_confirmed() -> None:
    origins: list[str | None] = []

    class Told(Echo):
        def on_request(self, request: vespiary.Request) -> None:
            origins.append(request.origin)

    options = vespiary.WebSocket(versions=(13, 8), origins=["https://good.test"])
    async with serving(Told, websocket=options) as server:
        good = "Sec-WebSocket-Origin: https://good.test"
        async with raw(server) as peer:
            assert good in await ask(peer, 8, good, "Origin: https://bad.test")
        async with raw(server) as peer:
            bad = "Sec-WebSocket-Origin: https://bad.test"
            assert (await ask(peer, 8, bad, "Origin: https://good.test")).startswith(
                "HTTP/1.1 403 "
            )
        async with raw(server) as peer:
            head = await ask(peer, 13, "Origin: https://good.test", good)
            assert head.startswith("HTTP/1.1 101 ")
            assert "Sec-WebSocket-Origin" not in head
    assert origins == ["https://good.test", "https://good.test"]


async def test_a_frame_with_a_reserved_opcode_is_skipped_in_8_and_fails_13() -> None:
    strange = frame(0x83, b"strange") + frame(0x81, b"hello")
    async with serving(Echo, websocket=BOTH) as server:
        async with raw(server) as (reader, writer):
            await ask((reader, writer), 8)
            writer.write(strange)
            assert await reader.readexactly(7) == frame(0x81, b"hello", masked=False)
        async with raw(server) as (reader, writer):
            await ask((reader, writer), 13)
            writer.write(strange)
            assert (await reader.read(4))[2:] == (1002).to_bytes(2)


async def test_a_message_over_its_limit_is_reported_1004_in_8_and_1009_in_13() -> None:
    recorder = Recorder()
    limits = vespiary.Limits(message_bytes_max=5)
    async with serving(recorder, websocket=BOTH, limits=limits) as server:
        for version, code in ((8, 1004), (13, 1009)):
            async with raw(server) as (reader, writer):
                await ask((reader, writer), version)
                writer.write(frame(0x82, b"too large"))
                assert (await reader.read(4))[2:] == code.to_bytes(2)
        await until(lambda: len(recorder.reasons) == 2)
    assert [reason.code for reason in recorder.reasons] == [1004, 1009]


async def test_a_server_refuses_text_that_is_not_utf8_in_either_version() -> None:
    async with serving(Echo, websocket=BOTH) as server:
        for version, code in ((8, 1002), (13, 1007)):
            async with raw(server) as (reader, writer):
                await ask((reader, writer), version)
                writer.write(frame(0x81, b"\xff"))
                assert (await reader.read(4))[2:] == code.to_bytes(2)


async def test_a_client_falls_back_to_the_next_version_that_the_server_names() -> None:
    async with serving(echo, websocket=OLD) as server:
        connection = await vespiary.connect(server.urls[0], websocket=BOTH)
        assert connection.version == 8
        connection.send("hello")
        assert await connection.receive() == "hello"
    async with serving(echo) as server:
        options = vespiary.WebSocket(versions=(8, 13))
        connection = await vespiary.connect(server.urls[0], websocket=options)
        assert connection.version == 13


async def test_a_client_with_one_version_is_refused_with_what_the_server_speaks() -> None:
    async with serving(echo, websocket=OLD) as server:
        with pytest.raises(vespiary.HandshakeRefused) as refused:
            await vespiary.connect(server.urls[0])
        assert refused.value.status == 426
        assert refused.value.headers["Sec-WebSocket-Version"] == "8"


async def test_a_client_asks_no_version_twice() -> None:
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.partition(b"Sec-WebSocket-Version: ")[2].partition(b"\r\n")[0])
        lines = ["HTTP/1.1 400 No", "Sec-WebSocket-Version: 13, 7", "Sec-WebSocket-Version: 8"]
        writer.write("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode())
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(vespiary.HandshakeRefused):
            await vespiary.connect(f"ws://127.0.0.1:{port}", websocket=BOTH)
    assert asked == [b"13", b"8"]


@pytest.mark.parametrize(
    ("lines", "version"),
    [
        (["8"], 8),
        (["7, 8"], 8),
        (["7", "8"], 8),
        ([" 8 ,7"], 8),
        (["13"], None),
        (["7"], None),
        (["18, 80"], None),
        ([], None),
    ],
)
def test_the_versions_of_a_refusal_are_read_from_lists_and_from_several_lines(
    lines: list[str], version: int | None
) -> None:
    fields = tuple(("sec-websocket-VERSION", line) for line in lines)
    refusal = vespiary.HandshakeRefused(426, "", "", fields)
    assert next_version(refusal, (13, 8), [13]) == version


async def test_a_client_of_version_8_mends_text_and_unmasks_what_a_server_masked() -> None:
    sent = frame(0x01, b"caf\xc3") + frame(0x80, b"\xff!") + frame(0x81, b"ok")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert "Sec-WebSocket-Version: 8\r\n" in head
        assert "\r\nSec-WebSocket-Origin: http://here.test\r\n" in head
        key = head.partition("Sec-WebSocket-Key: ")[2].partition("\r\n")[0]
        writer.write(answer(key) + sent)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        origin = [("Origin", "http://here.test")]
        connection = await vespiary.connect(url, websocket=OLD, headers=origin)
        assert await connection.receive() == "caf\ufffd\ufffd!"
        assert await connection.receive() == "ok"
        connection.abort()


def answer(key: str) -> bytes:
    """The response of a server of the time."""
    suffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1((key + suffix).encode()).digest()).decode()
    lines = ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}"]
    return "\r\n".join(["HTTP/1.1 101 Switching Protocols", *lines, "", ""]).encode()


@pytest.mark.parametrize("versions", [(), (13, 13), (7,), (13, 0)])
def test_versions_that_are_not_spoken_or_named_twice_are_refused(versions: Sequence[int]) -> None:
    with pytest.raises(vespiary.ConfigurationError, match=r"WebSocket\.versions"):
        vespiary.WebSocket(versions=versions)


STREAM = vespiary.WebSocket(versions=(13, 8), deflate_stream=True)
OFFER = "Sec-WebSocket-Extensions: deflate-stream"


async def test_a_compressed_stream_is_understood_by_a_plain_library_of_deflate() -> None:
    async with serving(Echo, websocket=STREAM) as server, raw(server) as (reader, writer):
        assert OFFER in await ask((reader, writer), 8, OFFER)
        deflate = zlib.compressobj(wbits=-15)
        inflate = zlib.decompressobj(wbits=-15)
        for payload in (b"", b"hello", b"hello again", bytes(100)):
            sent = deflate.compress(frame(0x82, payload)) + deflate.flush(zlib.Z_SYNC_FLUSH)
            writer.write(sent)
            expected = frame(0x82, payload, masked=False)
            plain = b""
            while len(plain) < len(expected):
                plain += inflate.decompress(await reader.read(4096))
            assert plain == expected


async def test_a_stream_is_compressed_only_in_version_8_and_where_both_ends_have_it() -> None:
    async with serving(Echo, websocket=STREAM) as server:
        async with raw(server) as peer:
            assert "Extensions" not in await ask(peer, 13, OFFER)
        async with raw(server) as peer:
            assert "Extensions" not in await ask(peer, 8)
        async with raw(server) as peer:
            assert "Extensions" not in await ask(peer, 8, f"{OFFER}; level=9")
    async with serving(Echo, websocket=BOTH) as server, raw(server) as peer:
        assert "Extensions" not in await ask(peer, 8, OFFER)


async def test_a_client_compresses_its_stream_where_the_server_grants_it() -> None:
    old = vespiary.WebSocket(versions=(8,), deflate_stream=True)
    async with serving(echo, websocket=STREAM) as server:
        connection = await vespiary.connect(server.urls[0], websocket=old)
        connection.send("a" * 10_000)
        assert await connection.receive() == "a" * 10_000
        assert connection.statistics().bytes_received < 1000
    async with serving(echo, websocket=BOTH) as server:
        connection = await vespiary.connect(server.urls[0], websocket=old)
        connection.send("a" * 10_000)
        assert await connection.receive() == "a" * 10_000
        assert connection.statistics().bytes_received > 10_000


def test_a_compressed_stream_without_version_8_is_a_mistake() -> None:
    with pytest.raises(vespiary.ConfigurationError, match="belongs to version 8"):
        vespiary.WebSocket(deflate_stream=True)
