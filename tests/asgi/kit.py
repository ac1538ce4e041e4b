"""What the tests share: a client that sends bytes, and applications that remember."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import h11

import vespiary
from tests.api.kit import serving, still_waits, streams, turns, until, virtual_time

__all__ = [
    "HTTP",
    "Client",
    "Receive",
    "Reply",
    "Send",
    "ask",
    "connected",
    "respond",
    "serving",
    "still_waits",
    "streams",
    "turns",
    "until",
    "virtual_time",
]

HTTP = "http://127.0.0.1:0"

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Reply:
    """A response."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    informational: list[tuple[int, list[tuple[bytes, bytes]]]]
    trailers: list[tuple[bytes, bytes]]

    def header(self, name: bytes) -> bytes | None:
        return next((value for known, value in self.headers if known == name), None)


class Client:
    """A connection, and the responses on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._parser = h11.Connection(h11.CLIENT)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self, method: str = "GET") -> Reply:
        """Read one whole response to a request of this method."""
        parser = self._parser
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        parser.send(h11.EndOfMessage())
        informational, body = [], bytearray()
        head: h11.Response | None = None
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                parser.receive_data(await self.reader.read(65536))
            elif isinstance(event, h11.InformationalResponse):
                informational.append((event.status_code, list(event.headers)))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                assert isinstance(event, h11.EndOfMessage)
                break
        assert head is not None
        if parser.our_state is h11.DONE and parser.their_state is h11.DONE:
            parser.start_next_cycle()
        headers = list(head.headers)
        return Reply(head.status_code, headers, bytes(body), informational, list(event.headers))

    async def ask(
        self, method: str, target: str, body: bytes | None = None, **headers: str
    ) -> Reply:
        lines = [f"{method} {target} HTTP/1.1", "Host: a"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b""))
        return await self.reply(method)


@asynccontextmanager
async def connected(server: vespiary.Server) -> AsyncIterator[Client]:
    """A connection with a server; it is reset at the end."""
    async with streams(server) as (reader, writer):
        yield Client(reader, writer)


async def ask(
    app: Any, method: str = "GET", target: str = "/", body: bytes | None = None, **headers: str
) -> Reply:
    """Serve an ASGI application without a lifespan for one request."""
    async with (
        serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server,
        connected(server) as client,
    ):
        return await client.ask(method, target, body, **headers)


async def respond(send: Send, body: bytes = b"", status: int = 200, headers: Any = ()) -> None:
    """Send a whole response."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})
