"""An HTTP client that has finished sending behind its request gets its answer."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

import vespiary

from .kit import forever, serving, turns, until
from .test_half_closes import read_all, reset

HTTP = "http://127.0.0.1:0"


class Plain(vespiary.Handler):
    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        return request.respond(200, request.path.encode())


class Async(vespiary.Handler):
    async def on_request(self, request: vespiary.Request) -> vespiary.Response:
        await turns()
        return request.respond(200, request.path.encode())


def get(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *lines, "", ""]).encode()


def connected(server: vespiary.Server) -> socket.socket:
    """A client of the server's first endpoint."""
    url = server.urls[0]
    if "unix" in url:
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(url.partition("://")[2].rpartition(":")[0])
        return peer
    host, port = url.partition("://")[2].rstrip("/").split(":")
    return socket.create_connection((host, int(port)))


def answered(server: vespiary.Server) -> int:
    return server.statistics().endpoints[0].requests_answered.get("200", 0)


HANDLERS: list[tuple[type[vespiary.Handler], dict[str, Any]]] = [
    (Plain, {}),
    (Async, {}),
    (Plain, {"executor": "threads"}),
]


@pytest.mark.parametrize(("handler", "options"), HANDLERS)
@pytest.mark.parametrize("url", [HTTP, "ws://127.0.0.1:0"])
@pytest.mark.parametrize(
    ("requests", "paths"),
    [
        ([get("/a", "Connection: close")], ["/a"]),
        ([get("/a")], ["/a"]),
        ([get("/a") + get("/b") + get("/c")], ["/a", "/b", "/c"]),
        ([get("/a"), get("/b"), get("/c") + get("/d")], ["/a", "/b", "/c", "/d"]),
    ],
    ids=["asks for the end", "would be kept", "pipelined", "kept"],
)
async def test_a_client_that_half_closes_behind_its_requests_gets_every_answer(
    handler: type[vespiary.Handler],
    options: dict[str, Any],
    url: str,
    requests: list[bytes],
    paths: list[str],
) -> None:
    async with serving(handler, url, **options) as server:
        peer = connected(server)
        for number, request in enumerate(requests):
            peer.sendall(request)
            if number < len(requests) - 1:
                await until(lambda: answered(server) > number)  # noqa: B023
        peer.shutdown(socket.SHUT_WR)
        got = (await asyncio.to_thread(read_all, peer)).decode()
        assert got.count("HTTP/1.1 200 ") == len(paths)
        bodies = [part.partition("\r\n\r\n")[2] for part in got.split("HTTP/1.1 200 ")[1:]]
        assert bodies == paths
        await until(lambda: server.statistics().total.connections_open == 0)


@pytest.mark.parametrize("ends", ["resets", "closes"])
async def test_an_on_request_is_cancelled_when_its_client_has_gone_altogether(
    ends: str, tmp_path: Path
) -> None:
    """TCP says so with a reset; a Unix socket shows a peer that has closed."""
    begun, cancelled = asyncio.Event(), asyncio.Event()

    class Slow(vespiary.Handler):
        async def on_request(self, request: vespiary.Request) -> vespiary.Response:
            begun.set()
            try:
                await forever()
            finally:
                cancelled.set()
            return request.respond(200)

    url = HTTP if ends == "resets" else f"http+unix://{tmp_path / 'socket'}"
    async with serving(Slow, url) as server:
        peer = connected(server)
        peer.sendall(get("/"))
        peer.shutdown(socket.SHUT_WR)
        await begun.wait()
        await asyncio.sleep(0)
        assert not cancelled.is_set()
        if ends == "resets":
            reset(peer)
        else:
            peer.close()
        await cancelled.wait()


async def test_a_half_closed_client_whose_answer_is_late_gets_503() -> None:
    class Slow(vespiary.Handler):
        async def on_request(self, request: vespiary.Request) -> vespiary.Response:
            await forever()
            return request.respond(200)

    deadlines = vespiary.Deadlines(handshake_seconds=0.2)
    async with serving(Slow, HTTP, deadlines=deadlines) as server:
        peer = connected(server)
        peer.sendall(get("/"))
        peer.shutdown(socket.SHUT_WR)
        got = await asyncio.to_thread(read_all, peer)
        assert got.startswith(b"HTTP/1.1 503 ")
