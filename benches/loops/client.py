"""The client: so many connections, one message in flight on each."""

from __future__ import annotations

import base64
import socket

SECONDS_MAX = 60.0


class Client:
    """Connections to one echo server, whose replies end with what was sent."""

    def __init__(self, kind: str, port: int, connections: int, size: int) -> None:
        self._payload = (b"0123456789abcdef" * (size // 16 + 1))[:size]
        self._message = self._request(kind)
        self._sockets = [self._connect(kind, port) for _ in range(connections)]

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        for each in self._sockets:
            each.close()

    def exchange(self, rounds: int) -> int:
        """Send a message on each connection and read the replies, so often; how many messages."""
        for _ in range(rounds):
            for each in self._sockets:
                each.sendall(self._message)
            for each in self._sockets:
                self._read_reply(each)
        return rounds * len(self._sockets)

    def _request(self, kind: str) -> bytes:
        if kind == "websockets":
            return _frame(self._payload)
        if kind in {"aiohttp", "uvicorn"}:
            head = f"POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(self._payload)}\r\n"
            return head.encode() + b"\r\n" + self._payload
        return self._payload

    def _connect(self, kind: str, port: int) -> socket.socket:
        connected = socket.create_connection(("127.0.0.1", port), SECONDS_MAX)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if kind == "websockets":
            key = base64.b64encode(bytes(16)).decode()
            head = (
                "GET / HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
            )
            connected.sendall(head.encode())
            reply = b""
            while not reply.endswith(b"\r\n\r\n"):
                reply += _some(connected)
        return connected

    def _read_reply(self, connected: socket.socket) -> None:
        reply = _some(connected)
        while not reply.endswith(self._payload):
            reply += _some(connected)


def _some(connected: socket.socket) -> bytes:
    data = connected.recv(1 << 18)
    if not data:
        raise ConnectionError("the server has closed a connection")
    return data


def _frame(payload: bytes) -> bytes:
    """A masked binary frame (RFC 6455, section 5.2); a mask of zeros changes nothing."""
    if len(payload) < 126:
        head = bytes([0x82, 0x80 | len(payload)])
    elif len(payload) < 1 << 16:
        head = bytes([0x82, 0x80 | 126]) + len(payload).to_bytes(2, "big")
    else:
        head = bytes([0x82, 0x80 | 127]) + len(payload).to_bytes(8, "big")
    return head + bytes(4) + payload
