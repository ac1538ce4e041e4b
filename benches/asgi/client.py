"""A client that costs little: connections that each have one GET under way, with epoll."""

from __future__ import annotations

import os
import select
import socket
import time

_REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\n"
    b"Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n\r\n"
)


def exchange(port: int, connections: int, seconds: float) -> int:
    """Ask for so long, on so many connections; how many answers came."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    poll = select.epoll()
    by_descriptor = {client.fileno(): client for client in clients}
    for client in clients:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(client.fileno(), select.EPOLLIN)
        client.sendall(_REQUEST)
    length = _length_of_answer(clients[0])
    clients[0].sendall(_REQUEST)
    missing = dict.fromkeys(by_descriptor, length)
    count = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for descriptor, _ in poll.poll():
            client = by_descriptor[descriptor]
            missing[descriptor] -= len(client.recv(1 << 18))
            if missing[descriptor] == 0:
                count += 1
                missing[descriptor] = length
                client.sendall(_REQUEST)
            elif missing[descriptor] < 0:
                raise SystemExit("an answer is longer than the first one")
    for client in clients:
        client.close()
    return count


def _length_of_answer(client: socket.socket) -> int:
    """The bytes of one answer: its head, and the body whose length the head says."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += client.recv(1 << 18)
    head, _, body = data.lower().partition(b"\r\n\r\n")
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += client.recv(1 << 18)
    return len(head) + 4 + length
