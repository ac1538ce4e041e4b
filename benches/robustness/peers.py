"""Peers of a server under test: plain sockets that speak as much WebSocket as a case needs.

Frames are masked with a key of zeros, so that a payload is sent as it is.
"""

import base64
import ctypes
import os
import select
import socket
import struct
import time
from collections.abc import Iterable

SO_ATTACH_FILTER = 26
BPF_RETURN = 0x06
PING, PONG, CLOSE, TEXT, BINARY = 9, 10, 8, 1, 2
HEADER_BYTES = 2
LENGTH_16, LENGTH_64 = 126, 127


class PeerError(Exception):
    """A server answered otherwise than every version of it does."""


def request(port: int, extra: str = "") -> bytes:
    """The request of an opening handshake."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
    ).encode()


def frame(opcode: int, payload: bytes = b"") -> bytes:
    """A masked frame."""
    size = len(payload)
    if size < LENGTH_16:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = bytes([0x80 | LENGTH_16]) + struct.pack(">H", size)
    else:
        length = bytes([0x80 | LENGTH_64]) + struct.pack(">Q", size)
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


class Peer:
    """A connection to a server."""

    def __init__(self, port: int, receive_bytes: int | None = None) -> None:
        self.port = port
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.ended = ""

    def open(self, extra: str = "") -> str:
        """Complete the opening handshake; the answer's status line."""
        self.send(request(self.port, extra))
        return self.head()

    def send(self, data: bytes) -> None:
        """Send all of `data`; a connection that is gone is noted."""
        try:
            self.socket.sendall(data)
        except OSError as error:
            self.ended = self.ended or type(error).__name__

    def send_some(self, data: bytes) -> int:
        """Send what fits now."""
        try:
            return self.socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.ended = self.ended or type(error).__name__
            return 0

    def head(self, seconds: float = 20) -> str:
        """The status line of an HTTP answer; what ended the connection where there is none."""
        end = time.monotonic() + seconds
        while b"\r\n\r\n" not in self.buffer and not self.ended and time.monotonic() < end:
            self.wait(end)
        if b"\r\n\r\n" not in self.buffer:
            return self.ended or "no answer"
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        self.buffer = bytearray(rest)
        return head.split(b"\r\n")[0].decode()

    def wait(self, end: float) -> None:
        """Wait for bytes until `end` at most, and read them."""
        left = end - time.monotonic()
        if left > 0 and select_readable([self], left):
            self.look()

    def look(self, most: int = 1 << 20) -> int:
        """Read what is there, at most so many bytes; how many came."""
        try:
            data = self.socket.recv(most, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.ended = self.ended or type(error).__name__
            return 0
        if not data:
            self.ended = self.ended or "end"
        self.buffer += data
        return len(data)

    def frames(self) -> list[tuple[int, bytes]]:
        """The frames that came, and have not been taken."""
        found = []
        while len(self.buffer) >= HEADER_BYTES:
            size, start = self.buffer[1] & 0x7F, HEADER_BYTES
            if size == LENGTH_16:
                size, start = int.from_bytes(self.buffer[2:4], "big"), 4
            elif size == LENGTH_64:
                size, start = int.from_bytes(self.buffer[2:10], "big"), 10
            if len(self.buffer) < start + size:
                break
            found.append((self.buffer[0] & 0xF, bytes(self.buffer[start : start + size])))
            del self.buffer[: start + size]
        return found

    def next(self, opcode: int, seconds: float = 20) -> bytes | None:
        """The payload of the next frame of a kind; others are dropped."""
        end = time.monotonic() + seconds
        while True:
            for kind, payload in self.frames():
                if kind == opcode:
                    return payload
            if self.ended or time.monotonic() >= end:
                return None
            self.wait(end)

    def vanish(self) -> None:
        """Let the kernel drop whatever comes for this socket, unacknowledged: no FIN, no RST."""
        # One instruction, which accepts no byte of a packet.
        code = struct.pack("HBBI", BPF_RETURN, 0, 0, 0)
        program = ctypes.create_string_buffer(code, len(code))
        description = struct.pack("HL", 1, ctypes.addressof(program))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, description)

    def reset(self) -> None:
        """Send RST and be gone."""
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()

    def close(self) -> None:
        """Be gone."""
        self.socket.close()


def select_readable(peers: Iterable[Peer], seconds: float) -> list[Peer]:
    """Those of the peers for which something has come."""
    poll = select.poll()
    known = {peer.socket.fileno(): peer for peer in peers if not peer.ended}
    for descriptor in known:
        poll.register(descriptor, select.POLLIN)
    return [known[descriptor] for descriptor, _ in poll.poll(max(seconds, 0) * 1000)]


def opened(port: int, count: int) -> list[Peer]:
    """So many peers that have completed the opening handshake."""
    peers = [Peer(port) for _ in range(count)]
    for peer in peers:
        peer.send(request(port))
    for peer in peers:
        status = peer.head()
        if " 101 " not in status:
            raise PeerError(f"a handshake was answered {status!r}")
    return peers


def converse(peers: list[Peer], seconds: float, speak: bytes | None = None) -> None:
    """Answer pings for so long, and say `speak` twice per second."""
    end = time.monotonic() + seconds
    next_speech = time.monotonic()
    while (now := time.monotonic()) < end:
        if speak is not None and now >= next_speech:
            next_speech = now + 0.5
            for peer in peers:
                if not peer.ended:
                    peer.send_some(speak)
        answer_pings(peers, min(0.1, end - now))
        if all(peer.ended for peer in peers):
            return


def answer_pings(peers: list[Peer], seconds: float) -> int:
    """Answer the pings that come within so long; how many peers got one."""
    count = 0
    for peer in select_readable(peers, seconds):
        peer.look()
        for opcode, payload in peer.frames():
            if opcode == PING:
                count += 1
                peer.send_some(frame(PONG, payload))
            elif opcode == CLOSE:
                peer.ended = peer.ended or f"close {int.from_bytes(payload[:2], 'big')}"
    return count
