"""A peer made of a plain blocking socket: it sends any bytes, and says how the other end reacts.

It speaks just enough WebSocket to be an independent judge of ours, and keeps no rule by itself.
"""

import contextlib
import os
import re
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

SECONDS = 50.0
PIECE_SECONDS = 0.0003

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

REQUEST = (
    b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
OFFERING = REQUEST.removesuffix(b"\r\n") + b"Sec-WebSocket-Extensions: %s\r\n\r\n"
ACCEPTED = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@dataclass(frozen=True)
class End:
    """How the other end finished: with a FIN or a reset, and what it sent before."""

    reset: bool
    before: bytes

    @property
    def status(self) -> int:
        """The status of the HTTP answer."""
        first, _, _ = self.before.partition(b"\r\n")
        version, status, _ = first.split(b" ", 2)
        assert version == b"HTTP/1.1", self.before
        return int(status)


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    mask: bool = True,
    compressed: bool = False,
) -> bytes:
    """A frame, masked as a client must (RFC 6455 section 5.2); RSV1 reports compression."""
    head = bytes([opcode | (0x80 if fin else 0) | (0x40 if compressed else 0)])
    bit = 0x80 if mask else 0
    if len(payload) < 126:
        head += bytes([bit | len(payload)])
    elif len(payload) < 1 << 16:
        head += struct.pack("!BH", bit | 126, len(payload))
    else:
        head += struct.pack("!BQ", bit | 127, len(payload))
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + masked(payload, key)


def masked(payload: bytes, key: bytes) -> bytes:
    """The payload masked with the key, or unmasked again (RFC 6455 section 5.3)."""
    # XOR of whole numbers: a loop over bytes would make this side the slow one.
    repeated = (key * (len(payload) // 4 + 1))[: len(payload)]
    number = int.from_bytes(payload) ^ int.from_bytes(repeated)
    return number.to_bytes(len(payload))


class Peer:
    """A connection to a server, or of a client to us."""

    reads_masked = False
    """Whether the frames of the other end are masked."""

    def __init__(
        self, url: str, *, source: str | None = None, receive_buffer: int | None = None
    ) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(SECONDS)
        if source:
            self.socket.bind((source, 0))
        self.extensions = ""
        self._kept = b""
        self._was_reset = False
        try:
            self.socket.connect((parts.hostname, parts.port))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except ConnectionResetError:
            # The other end was quicker than our connect could return.
            self._was_reset = True
        except OSError:
            self.socket.close()
            raise

    @classmethod
    def over(cls, connected: socket.socket) -> Self:
        """A peer over a socket that is connected already."""
        peer = cls.__new__(cls)
        peer.socket = connected
        peer.socket.settimeout(SECONDS)
        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.extensions = ""
        peer._kept = b""
        peer._was_reset = False
        peer.reads_masked = True
        return peer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.socket.sendall(data)

    def send_in_pieces(self, pieces: Iterable[bytes]) -> None:
        """Send each as a segment of its own, with enough time between for the other end to read."""
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(PIECE_SECONDS)
            self.send_if_it_still_can(piece)

    def send_if_it_still_can(self, data: bytes) -> None:
        """Send all of it, unless the other end has gone."""
        with contextlib.suppress(ConnectionError):
            self.send(data)

    def pump(self, data: bytes, seconds: float) -> int:
        """Send the same again and again for a time; how many bytes the kernel took."""
        end = time.monotonic() + seconds
        sent = 0
        view = memoryview(data)
        self.socket.setblocking(False)
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < end:
                try:
                    sent += self.socket.send(view[sent % len(data) :])
                except BlockingIOError:
                    time.sleep(0.001)
        self.socket.settimeout(SECONDS)
        return sent

    def reset(self) -> None:
        """Drop the connection with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def end(self) -> End:
        """Read until the other end finishes."""
        if self._was_reset:
            return End(True, b"")
        before, self._kept = [self._kept], b""
        try:
            while received := self.socket.recv(1 << 16):
                before.append(received)
        except ConnectionResetError:
            return End(True, b"".join(before))
        return End(False, b"".join(before))

    def read(self, size: int) -> bytes:
        """Read so many bytes."""
        while len(self._kept) < size:
            received = self.socket.recv(1 << 20)
            if not received:
                raise EOFError(f"the stream ended after {self._kept!r}")
            self._kept += received
        data, self._kept = self._kept[:size], self._kept[size:]
        return data

    def upgrade(self, target: str = "/", offer: str | None = None) -> Self:
        """Make a WebSocket of it, and offer extensions; `extensions` is what is granted."""
        if offer is None:
            self.send(REQUEST % target.encode())
        else:
            self.send(OFFERING % (target.encode(), offer.encode()))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.read(1)
        assert head.startswith(b"HTTP/1.1 101 "), head
        assert ACCEPTED in head, head
        granted = re.search(rb"\r\nsec-websocket-extensions: (.*)\r\n", head, re.IGNORECASE)
        self.extensions = granted[1].decode() if granted else ""
        return self

    def read_frame(self) -> tuple[int, bytes]:
        """Read a whole message or a control frame: its opcode and payload."""
        first, second = self.read(2)
        assert first & 0x80, "the server fragmented its message"
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self.read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.read(8))
        key = self.read(4) if second & 0x80 else None
        assert (key is not None) == self.reads_masked, "only a client masks its frames"
        payload = self.read(length)
        return first & 0x0F, payload if key is None else masked(payload, key)

    def echo(self, payload: bytes) -> None:
        """Send a message and have it back."""
        self.send(frame(BINARY, payload))
        assert self.read_frame() == (BINARY, payload)

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Read frames up to a close frame."""
        while True:
            opcode, payload = self.read_frame()
            yield opcode, payload
            if opcode == CLOSE:
                return

    def close_code(self) -> int:
        """Read on to the close frame, and give its code."""
        *_, (_, payload) = self.frames()
        code: int = struct.unpack("!H", payload[:2])[0]
        return code

    def answer_close(self) -> End:
        """Answer the close frame with the same code, as RFC 6455 wants it, and read to the end."""
        code = struct.pack("!H", 1000)
        self.send_if_it_still_can(frame(CLOSE, code, mask=not self.reads_masked))
        return self.end()
