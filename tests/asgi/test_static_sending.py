"""`vespiary.StaticFiles`: how files are sent, while they change, and to clients of all kinds."""

import asyncio
import os
import resource
import socket
import ssl
from pathlib import Path

import pytest

import vespiary
from tests.api.certificates import Certificates
from tests.logs import records
from tests.waiting import wait_until

from .folders import LARGE, files
from .kit import HTTP, Client, connected, serving


async def test_large_files_come_whole_over_tls(
    folder: Path, tls: vespiary.ServerTLS, certificates: Certificates
) -> None:
    server = vespiary.Server()
    server.add(vespiary.StaticFiles(folder), "https://127.0.0.1:0", tls=tls)
    server.add(vespiary.StaticFiles(folder), HTTP)
    async with server:
        context = ssl.create_default_context(cafile=str(certificates.ca))
        port = vespiary.Endpoint.parse(server.urls[0]).port
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="localhost"
        )
        client = Client(reader, writer)
        assert (await client.ask("GET", "/large.bin")).body == LARGE
        reply = await client.ask("GET", "/large.bin", Range="bytes=1000-900000")
        assert reply.body == LARGE[1000:900_001]
        writer.transport.abort()


async def test_requests_that_are_sent_ahead_are_answered_in_order(folder: Path) -> None:
    async with files(folder) as client:
        targets = ["/large.bin", "/a.txt", "/missing", "/large.bin", "/none.bin", "/a.txt"]
        client.send(b"".join(f"GET {one} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for one in targets))
        replies = [await client.reply() for _ in targets]
    sizes = [len(reply.body) for reply in replies]
    assert sizes == [len(LARGE), 5, 10, len(LARGE), 0, 5]


async def test_a_file_that_becomes_shorter_ends_with_a_reset(folder: Path) -> None:
    path = folder / "huge.bin"
    with path.open("wb") as file:
        file.truncate(200 << 20)
    async with files(folder) as client:
        client.send(b"GET /huge.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
        os.truncate(path, 1 << 20)
        with pytest.raises(ConnectionResetError):
            await client.reader.readexactly(200 << 20)


async def test_a_file_that_grows_is_sent_as_it_was(folder: Path) -> None:
    path = folder / "huge.bin"
    with path.open("wb") as file:
        file.truncate(50 << 20)
    async with files(folder) as client:
        client.send(b"GET /huge.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
        os.truncate(path, 60 << 20)
        await client.reader.readexactly(50 << 20)
        assert (await client.ask("GET", "/a.txt")).body == b"hello"


async def test_a_client_that_does_not_read_costs_no_memory(folder: Path) -> None:
    with (folder / "huge.bin").open("wb") as file:
        file.truncate(5 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    server = vespiary.Server()
    server.add(vespiary.StaticFiles(folder), HTTP)
    async with server:
        clients = []
        for _ in range(20):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", vespiary.Endpoint.parse(server.urls[0]).port, limit=1 << 16
            )
            clients.append((reader, writer))
            writer.write(b"GET /huge.bin HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"\r\nContent-Length: 5368709120\r\n" in head
        async with connected(server) as client:
            assert (await client.ask("GET", "/a.txt")).body == b"hello"
            reply = await client.ask("GET", "/huge.bin", Range="bytes=5368709110-")
            assert reply.body == bytes(10)
        for _, writer in clients:
            writer.transport.abort()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100 << 10, f"{grown} KiB"


def bytes_of(address: tuple[str, int], request: bytes) -> int:
    """How many bytes a server sends. To be called in a thread."""
    count, room = 0, bytearray(1 << 20)
    with socket.create_connection(address) as client:
        client.sendall(request)
        while found := client.recv_into(room):
            count += found
    return count


@pytest.mark.slow
async def test_a_gib_beyond_the_first_four_comes_without_memory(folder: Path) -> None:
    with (folder / "huge.bin").open("wb") as file:
        file.truncate(5 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with serving(vespiary.StaticFiles(folder), HTTP) as server:
        endpoint = vespiary.Endpoint.parse(server.urls[0])
        request = (
            b"GET /huge.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            b"Range: bytes=4294967296-\r\n\r\n"
        )
        count = await asyncio.to_thread(bytes_of, (endpoint.host, endpoint.port), request)
    assert 1 << 30 < count < (1 << 30) + 1000
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 50 << 10, f"{grown} KiB"


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_descriptors_are_closed(folder: Path) -> None:
    async with files(folder, not_found="404.html", precompressed=True) as client:
        before = 0
        for number in range(30):
            for target in ("/a.txt", "/missing", "/sub", "/large.bin", "/sub/"):
                await client.ask("GET", target)
            if number == 5:
                before = descriptors()
        assert descriptors() == before
        client.send(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.reader.read(1)
        client.writer.transport.abort()
    wait_until(lambda: descriptors() <= before, lambda: "descriptors are left")


async def test_a_failure_is_logged_and_answered_with_500(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("vespiary.http._folder.open_beneath", broken)
    async with files(folder) as client:
        reply = await client.ask("GET", "/a.txt")
    assert (reply.status, reply.body) == (500, b"Internal Server Error\n")
    assert "Input/output error" in "".join(str(one.exc_info) for one in records(caplog))


async def test_a_file_that_may_not_be_read_is_403(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("vespiary.http._folder.open_beneath", forbidden)
    async with files(folder) as client:
        assert (await client.ask("GET", "/a.txt")).status == 403


async def test_a_file_that_is_not_in_memory_is_read_by_a_thread(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def uncached(*_: object) -> bool:
        return False

    monkeypatch.setattr("vespiary.http._files.is_cached", uncached)
    monkeypatch.setattr("vespiary.http._static_call.is_cached", uncached)
    async with files(folder) as client:
        assert (await client.ask("GET", "/large.bin")).body == LARGE
        assert (await client.ask("GET", "/a.txt")).body == b"hello"


async def test_requests_are_logged_if_that_is_wanted(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "vespiary.access")
    async with files(folder, access_log=True) as client:
        await client.ask("GET", "/a.txt")
        await client.ask("GET", "/missing")
    lines = [one.getMessage() for one in records(caplog) if one.name == "vespiary.access"]
    assert [line.partition(" - ")[2] for line in lines] == [
        '"GET /a.txt HTTP/1.1" 200',
        '"GET /missing HTTP/1.1" 404',
    ]
