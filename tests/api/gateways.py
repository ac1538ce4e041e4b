"""Servers behind gateways."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import vespiary
from vespiary.wasp.gateway import Policy, Proxy, ProxyOptions, Upstream

from .kit import TCP, serving, streams

__all__ = ["GET", "HTTP", "Raw", "asked", "before_raw", "dead", "upstream"]

HTTP = "http://127.0.0.1:0"
GET = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"


def upstream(url: str, **policy: Any) -> Upstream:
    return Upstream(url, Policy(**policy), None, asyncio.get_running_loop().time)


def dead() -> str:
    """A URL where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


class Raw(asyncio.Protocol):
    """Answers each request with given bytes, and remembers what it got."""

    def __init__(self, answers: list[bytes], closes: bool = False) -> None:
        self.answers = answers
        self.closes = closes
        self.requests: list[bytes] = []
        self.connections = 0
        self.latest: vespiary.Connection | None = None

    async def __call__(self, connection: vespiary.Connection) -> None:
        self.connections += 1
        self.latest = connection
        received = b""
        async for piece in connection:
            received += piece
            while b"\r\n\r\n" in received:
                head, _, received = received.partition(b"\r\n\r\n")
                self.requests.append(head)
                if not self.answers:
                    connection.abort()
                    return
                connection.send(self.answers.pop(0))
                if self.closes:
                    return


@asynccontextmanager
async def before_raw(
    raw: Raw, *others: str, **options: Any
) -> AsyncIterator[tuple[vespiary.Server, Proxy]]:
    """A proxy in front of a server that writes bytes."""
    async with serving(raw, TCP) as server:
        first = server.urls[0].replace("tcp:", "http:")
        proxy = Proxy([upstream(one) for one in (first, *others)], None, ProxyOptions(**options))
        async with serving(proxy, HTTP) as front:
            yield front, proxy


async def asked(server: vespiary.Server, request: bytes, end: bytes = b"\r\n\r\n") -> str:
    """What a server answers, up to these bytes, or to the end if there are none."""
    async with streams(server) as (reader, writer):
        writer.write(request)
        data = await (reader.readuntil(end) if end else reader.read())
        return data.decode("latin-1")
