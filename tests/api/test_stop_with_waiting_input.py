"""What peers have sent when a server stops is received, although the loop was busy before."""

import asyncio
import socket
import threading

import vespiary

from .kit import TCP

PEERS = 5
REQUEST = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


class Busy(vespiary.Handler):
    """Keeps the loop busy until everything was sent, and stops the server then."""

    def __init__(self, server: vespiary.Server) -> None:
        self.server = server
        self.is_busy, self.is_all_sent = threading.Event(), threading.Event()

    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        if request.path == "/stop":
            self.is_busy.set()
            assert self.is_all_sent.wait(60)
            self.server.stop_soon()
        return request.respond(200, "answered")


class Lines(vespiary.Handler):
    def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
        connection.send(b"answered " + message)


async def lines(connection: vespiary.Connection) -> None:
    async for message in connection:
        assert isinstance(message, bytes)
        connection.send(b"answered " + message)


class Peer:
    def __init__(self, url: str, first: bytes) -> None:
        port = int(url.rsplit(":", 1)[1].strip("/"))
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.sendall(first)
        while b"answered" not in self.socket.recv(1000):
            pass

    def rest(self) -> bytes:
        with self.socket:
            return b"".join(iter(lambda: self.socket.recv(1000), b""))


def talk(busy: Busy, urls: list[str]) -> list[bytes]:
    """Let the peers send while the loop is busy; what each of them gets."""
    first = [REQUEST % b"/", b"one\n", b"one\n"]
    second = [REQUEST % b"/", b"two\n", b"two\n"]
    peers = [
        (Peer(url, says), kind)
        for kind, (url, says) in enumerate(zip(urls, first, strict=True))
        for _ in range(PEERS)
    ]
    stopping = Peer(urls[0], REQUEST % b"/")
    stopping.socket.sendall(REQUEST % b"/stop")
    assert busy.is_busy.wait(60)
    for peer, kind in peers:
        peer.socket.sendall(second[kind])
    busy.is_all_sent.set()
    stopping.rest()
    return [peer.rest() for peer, _ in peers]


async def test_what_waits_in_the_kernel_at_a_stop_is_answered() -> None:
    server = vespiary.Server(signals=False)
    busy = Busy(server)
    server.add(busy, "http://127.0.0.1:0")
    server.add(Lines(), TCP, framing="line")
    server.add(lines, TCP, framing="line")
    async with server:
        got = await asyncio.to_thread(talk, busy, list(server.urls))
        await server.wait_stopped()
    assert len(got) == 3 * PEERS
    assert all(b"answered" in one for one in got), got
