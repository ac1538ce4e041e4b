"""Clients that cost little: connections that each have one request under way.

`exchange` is one of our own, for every scenario; wrk and h2load are for those of plain requests.
"""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CLIENTS = ("own", "wrk", "h2load")
CHUNK = 1 << 18


@dataclass(frozen=True)
class Traffic:
    """What a connection sends again and again.

    Attributes:
        request: What is sent, and then answered.
        opening: What is sent and answered once before, such as the request for a WebSocket.
        answer_bytes: The length of an answer; None where the head of the first one says it.
        connections: How many connections there are.
    """

    request: bytes
    opening: bytes = b""
    answer_bytes: int | None = None
    connections: int = 50


class Peer:
    """A connection of the client."""

    def __init__(self, port: int, traffic: Traffic) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = traffic.request
        if traffic.opening:
            self.socket.sendall(traffic.opening)
            head = self.socket.recv(CHUNK)
            if b" 101 " not in head or not head.endswith(b"\r\n\r\n"):
                raise SystemExit(f"no WebSocket: {head!r}")
        self.socket.setblocking(False)  # from now on
        self.unsent: memoryview = memoryview(b"")
        self.missing = 0

    def begin(self, answer_bytes: int) -> bool:
        """Send a request; whether all of it was sent."""
        self.missing = answer_bytes
        self.unsent = memoryview(self.request)
        return self.go_on()

    def go_on(self) -> bool:
        """Send what is left of the request; whether all of it was sent."""
        try:
            while self.unsent:
                self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except BlockingIOError:
            return False
        return True


def exchange(port: int, traffic: Traffic, seconds: float) -> int:
    """Ask for so long, on so many connections; how many answers came."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    length = traffic.answer_bytes or length_of_answer(port, traffic)
    peers = {}
    poll = select.epoll()
    for _ in range(traffic.connections):
        peer = Peer(port, traffic)
        peers[peer.socket.fileno()] = peer
        is_sent = peer.begin(length)
        poll.register(peer.socket.fileno(), select.EPOLLIN | (0 if is_sent else select.EPOLLOUT))
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for descriptor, events in poll.poll():
            peer = peers[descriptor]
            if events & select.EPOLLOUT and peer.go_on():
                poll.modify(descriptor, select.EPOLLIN)
            if not events & select.EPOLLIN:
                continue
            data = peer.socket.recv(CHUNK)
            peer.missing -= len(data)
            if peer.missing < 0 or not data:
                what = "is too long" if data else "is missing"
                raise SystemExit(f"answer {count} {what}: {data[:200]!r}; {length} bytes expected")
            if peer.missing == 0:
                count += 1
                if not peer.begin(length):
                    poll.modify(descriptor, select.EPOLLIN | select.EPOLLOUT)
    for peer in peers.values():
        peer.socket.close()
    return count


def length_of_answer(port: int, traffic: Traffic) -> int:
    """The bytes of one answer: its head, and the body whose length the head says."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(traffic.request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += client.recv(CHUNK)
        head, _, body = data.lower().partition(b"\r\n\r\n")
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += client.recv(CHUNK)
    return len(head) + 4 + length


def idle(port: int, traffic: Traffic, connections: int) -> list[socket.socket]:
    """Open connections that each ask once, and then keep still."""
    length = length_of_answer(port, traffic)
    opened = []
    for _ in range(connections):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(traffic.request)
        missing = length
        while missing:
            missing -= len(client.recv(CHUNK))
        opened.append(client)
    return opened


def exchange_by(client: str, port: int, traffic: Traffic, seconds: float) -> int:
    """The same by a client that everybody knows: `own`, `wrk` or `h2load`."""
    if client == "own":
        return exchange(port, traffic, seconds)
    url, core = f"http://127.0.0.1:{port}/", str(max(os.sched_getaffinity(0)))
    command = ["taskset", "-c", core]
    with tempfile.NamedTemporaryFile() as body:
        content = traffic.request.partition(b"\r\n\r\n")[2]
        Path(body.name).write_bytes(content)
        if client == "wrk":
            command += ["wrk", "-t1", f"-c{traffic.connections}", f"-d{max(1, round(seconds))}"]
            pattern = r"(\d+) requests in"
        else:
            command += ["h2load", "--h1", "-t1", f"-c{traffic.connections}"]
            command += [f"--duration={max(1, round(seconds))}", "--warm-up-time=0"]
            command += ["-d", body.name] if content else []
            pattern = r"(\d+) succeeded"
        done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    found = re.search(pattern, done.stdout)
    if found is None or re.search(r"[1-9]\d* (failed|errored|timeout)|Non-2xx", done.stdout):
        raise SystemExit(f"{client} has failed:\n{done.stdout}")
    return int(found[1])
