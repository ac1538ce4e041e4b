"""The subscribers: many WebSocket connections of one process, which read all that comes."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import struct
import time
from dataclasses import dataclass

CONNECTING_MAX = 200
"""Handshakes at the same time, so that no server's backlog overflows."""
SECONDS_MAX = 60.0
SO_TIMESTAMPNS = 35
"""See socket(7): the kernel notes when a segment arrived, so that the client's own delay does not
count."""
STAMP_BYTES = 20
"""The moment in front of each message."""


class DeliveryError(Exception):
    """A subscriber got something else than what was published, or nothing."""


@dataclass(frozen=True)
class Delivery:
    """When the kernel had a message for the subscribers: seconds after the server published it.

    Attributes:
        first: At the first subscriber.
        last: At the last one.
    """

    first: float
    last: float


class Subscribers:
    """Connections to a server that sends each message of one to all of them."""

    def __init__(self, port: int, count: int) -> None:
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._publisher: socket.socket | None = None
        while len(self._sockets) < count:
            self._connect(port, min(CONNECTING_MAX, count - len(self._sockets)))

    def __enter__(self) -> Subscribers:
        return self

    def __exit__(self, *exception: object) -> None:
        self._poll.close()
        for each in self._sockets.values():
            reset(each)

    def publish(self, size: int) -> Delivery:
        """Have a message of `size` bytes published, and read it on every connection.

        Raises:
            DeliveryError: It did not arrive everywhere, or not unchanged.
        """
        assert self._publisher is not None
        payload = (b"0123456789abcdef" * (size // 16 + 1))[: size - STAMP_BYTES]
        self._publisher.sendall(masked(payload))
        frame = unmasked_head(size)
        waiting = dict.fromkeys(self._sockets, b"")
        first = last = 0.0
        stamp = 0
        end = time.monotonic() + SECONDS_MAX
        while waiting:
            if time.monotonic() > end:
                raise DeliveryError(f"{len(waiting)} subscribers got nothing in {SECONDS_MAX} s")
            for descriptor, _ in self._poll.poll(1.0, 64):
                data, moment = _received(self._sockets[descriptor])
                data = waiting.get(descriptor, b"") + data
                if len(data) < len(frame) + size:
                    waiting[descriptor] = data
                    continue
                stamp = stamp or int(data[len(frame) : len(frame) + STAMP_BYTES])
                first, last = min(first or moment, moment), max(last, moment)
                if data != frame + f"{stamp:020d}".encode() + payload:
                    raise DeliveryError(f"a subscriber got {data[:40]!r}...")
                del waiting[descriptor]
        return Delivery(first - stamp / 1e9, last - stamp / 1e9)

    def _connect(self, port: int, count: int) -> None:
        opened = [socket.create_connection(("127.0.0.1", port), SECONDS_MAX) for _ in range(count)]
        for each in opened:
            each.sendall(request())
        for each in opened:
            head = read_head(each)
            if not head.startswith(b"HTTP/1.1 101 "):
                raise DeliveryError(f"the server answered the handshake with {head[:60]!r}")
            each.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self._sockets[each.fileno()] = each
            self._poll.register(each, select.EPOLLIN)
            self._publisher = self._publisher or each


def _received(connected: socket.socket) -> tuple[bytes, float]:
    """Some bytes, and when the last of them arrived, in seconds since 1970."""
    data, notes, _, _ = connected.recvmsg(1 << 16, 64)
    if not data:
        raise DeliveryError("the server has closed a connection")
    for _, kind, note in notes:
        if kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("qq", note)
            return data, seconds + nanoseconds / 1e9
    raise DeliveryError("the kernel gave no timestamp")


def request() -> bytes:
    """An opening handshake (RFC 6455, section 4.1)."""
    key = base64.b64encode(bytes(16)).decode()
    return (
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    ).encode()


def read_head(connected: socket.socket) -> bytes:
    """The head of the response; nothing comes behind it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = connected.recv(4096)
        if not data:
            raise DeliveryError("the server has closed a connection in its handshake")
        head += data
    return head


def masked(payload: bytes) -> bytes:
    """A text frame of a client (RFC 6455, section 5.2); a mask of zeros changes nothing."""
    head = bytearray(unmasked_head(len(payload)))
    head[1] |= 0x80
    return bytes(head) + bytes(4) + payload


def unmasked_head(size: int) -> bytes:
    """What stands before the payload of a server's text frame."""
    if size < 126:
        return bytes([0x81, size])
    if size < 1 << 16:
        return bytes([0x81, 126]) + size.to_bytes(2, "big")
    return bytes([0x81, 127]) + size.to_bytes(8, "big")


def reset(connected: socket.socket) -> None:
    """Close without a rest in TIME_WAIT, so that the next server finds its ports free."""
    with contextlib.suppress(OSError):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connected.close()
