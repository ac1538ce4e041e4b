"""One request to a server behind, and its response: h11 on a connection of `vespiary.connect`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h11

import vespiary

if TYPE_CHECKING:
    from vespiary._core import Connection
    from vespiary.wasp.gateway.upstreams import Upstream

__all__ = ["Body", "Exchange", "Pool", "UpstreamError"]

_HEAD_BYTES_MAX = 64 << 10
"""For the head of a response: as much as any application sends."""


class UpstreamError(Exception):
    """A server behind has not answered as HTTP asks for.

    Attributes:
        is_late: Whether a deadline was over.
        is_stale: Whether it has closed a connection that was kept, before the response began.
        is_unsent: Whether nothing was sent.
    """

    def __init__(
        self, text: str, *, is_late: bool = False, is_stale: bool = False, is_unsent: bool = False
    ) -> None:
        super().__init__(text)
        self.is_late = is_late
        self.is_stale = is_stale
        self.is_unsent = is_unsent


class Pool:
    """Connections with one server that are kept for further requests.

    Args:
        upstream: The server.
        connections_max: How many are kept.
        keep_alive_seconds: For how long.
    """

    def __init__(self, upstream: Upstream, connections_max: int, keep_alive_seconds: float) -> None:
        self.upstream = upstream
        self._connections_max = connections_max
        self._seconds = keep_alive_seconds
        self._idle: list[_Kept] = []

    async def exchange(self, *, may_be_kept: bool) -> Exchange:
        """Return an exchange on a connection, which is a kept one if that is allowed.

        Raises:
            UpstreamError: no connection could be made.
        """
        now = asyncio.get_running_loop().time()
        while self._idle:
            kept = self._idle[-1]
            is_usable = kept.is_usable and now - kept.since < self._seconds
            if is_usable and not may_be_kept:
                break
            self._idle.pop()
            if is_usable:
                return Exchange(self, kept.connection, kept.parser, is_kept=True)
            kept.connection.close()
        try:
            connection = await self.upstream.connect()
        except TimeoutError:
            text = "the connection could not be opened in time"
            raise UpstreamError(text, is_late=True, is_unsent=True) from None
        except (OSError, vespiary.VespiaryError) as error:
            text = f"the connection could not be opened: {error}"
            raise UpstreamError(text, is_unsent=True) from None
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES_MAX)
        return Exchange(self, connection, parser, is_kept=False)

    def keep(self, connection: Connection, parser: h11.Connection) -> None:
        """Keep a connection for a further request."""
        if len(self._idle) >= self._connections_max or not connection.is_open:
            connection.close()
            return
        now = asyncio.get_running_loop().time()
        received = connection.statistics().bytes_received
        self._idle.append(_Kept(now, connection, parser, received))
        while now - self._idle[0].since >= self._seconds:
            self._idle.pop(0).connection.close()

    def close(self) -> None:
        """Close all of them."""
        idle, self._idle = self._idle, []
        for kept in idle:
            kept.connection.close()


@dataclass(frozen=True, slots=True)
class _Kept:
    """A connection without a request.

    Attributes:
        since: When its last response was complete.
        connection: The connection.
        parser: Its state.
        received: How many bytes had come by then.
    """

    since: float
    connection: Connection
    parser: h11.Connection
    received: int

    @property
    def is_usable(self) -> bool:
        """Whether the next bytes will answer the next request.

        What has come without a request, such as a 408 before the end, would be taken for its
        response.
        """
        connection = self.connection
        return connection.is_open and connection.statistics().bytes_received == self.received


class Exchange:
    """One request on a connection."""

    def __init__(
        self, pool: Pool, connection: Connection, parser: h11.Connection, *, is_kept: bool
    ) -> None:
        self._pool = pool
        self._connection = connection
        self._parser = parser
        self._is_kept = is_kept
        self._sender: asyncio.Task[None] | None = None
        self._progress: Callable[[], None] = _nothing
        self._client_error: vespiary.ConnectionClosed | None = None
        self._has_bytes = False
        self._is_over = False
        pool.upstream.active += 1
        pool.upstream.requests += 1

    async def ask(
        self,
        method: str,
        target: str,
        lines: list[tuple[str, str]],
        chunks: AsyncIterator[bytes] | None,
        seconds: float,
    ) -> h11.Response:
        """Send a request, and return the head of the final response.

        Args:
            method: The method.
            target: Path and query.
            lines: The header fields.
            chunks: The pieces of the body, if there is one.
            seconds: The longest time for the response, after the latest piece of the body.

        Raises:
            UpstreamError: there was none.
            ConnectionClosed: the client is gone, or its body was refused.
        """
        loop, most = asyncio.get_running_loop(), _HEAD_BYTES_MAX
        try:
            async with asyncio.timeout(seconds) as deadline:
                self._progress = lambda: deadline.reschedule(loop.time() + seconds)
                headers = [(name.encode(), value.encode("latin-1")) for name, value in lines]
                self._send(h11.Request(method=method, target=target, headers=headers))
                if chunks is None:
                    self._send(h11.EndOfMessage())
                else:
                    self._sender = asyncio.ensure_future(self._send_body(chunks))
                while True:
                    event = await self.event()
                    if isinstance(event, h11.Response):
                        if sum(len(name) + len(value) for name, value in event.headers) > most:
                            raise UpstreamError(f"the head of the response exceeds {most} bytes")
                        return event
                    if isinstance(event, h11.InformationalResponse) and event.status_code != 101:
                        continue
                    raise UpstreamError("the server has changed the protocol without being asked")
        except TimeoutError:
            raise UpstreamError(f"no response came within {seconds:g} s", is_late=True) from None
        except (h11.RemoteProtocolError, vespiary.ConnectionClosed) as error:
            if self._client_error is not None:
                raise self._client_error from None
            is_stale = self._is_kept and not self._has_bytes
            raise UpstreamError(f"no valid response: {error}", is_stale=is_stale) from None
        except h11.LocalProtocolError as error:
            raise UpstreamError(f"the request cannot be sent: {error}") from None
        finally:
            self._progress = _nothing

    def _send(self, event: h11.Event) -> None:
        data = self._parser.send(event)
        if data:
            self._connection.send(data)

    async def _send_body(self, chunks: AsyncIterator[bytes]) -> None:
        try:
            async for piece in chunks:
                self._send(h11.Data(data=piece))
                await self._connection.drain()
                self._progress()
            self._send(h11.EndOfMessage())
        except vespiary.ConnectionClosed as error:
            if self._connection.is_open:
                # The server must not take a part for the whole request.
                self._client_error = error
                self._connection.abort()
        except h11.LocalProtocolError:
            self._connection.abort()

    def ready(self) -> Any:
        """Return the next event, or `h11.NEED_DATA`, without waiting."""
        return self._parser.next_event()

    async def event(self) -> Any:
        """Return the next event.

        Raises:
            ConnectionClosed: the connection has broken.
            h11.RemoteProtocolError: the server does not speak HTTP, or ended within a response.
        """
        while True:
            event = self._parser.next_event()
            if event is not h11.NEED_DATA:
                return event
            try:
                data = await self._connection.receive()
            except vespiary.RemoteClosed:
                data = b""
            self._has_bytes = self._has_bytes or bool(data)
            self._parser.receive_data(data)

    def finish(self) -> None:
        """The response is complete: keep the connection if that is possible."""
        if self._is_over:
            return
        self._leave()
        parser = self._parser
        is_complete = parser.our_state is h11.DONE and parser.their_state is h11.DONE
        # Bytes behind the response would be taken for that of the next request.
        if is_complete and parser.trailing_data == (b"", False):
            parser.start_next_cycle()
            self._pool.keep(self._connection, parser)
        elif self._connection.is_open:
            self._connection.abort()

    def close(self) -> None:
        """End the connection, if the response is not complete."""
        if not self._is_over:
            self._leave()
            self._connection.abort()

    def _leave(self) -> None:
        self._is_over = True
        self._pool.upstream.active -= 1
        if self._sender is not None and not self._sender.done():
            self._sender.cancel()


class Body:
    """The pieces of a response, as they come.

    Args:
        exchange: The request.
        first: What has come with the head.
        seconds: The longest time for a further piece.
        on_broken: Called with the reason if the response breaks off: its client must notice.
    """

    def __init__(
        self,
        exchange: Exchange,
        first: bytes,
        seconds: float,
        on_broken: Callable[[str], object],
    ) -> None:
        self._exchange = exchange
        self._on_broken = on_broken
        self._first = first
        self._seconds = seconds

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        first, self._first = self._first, b""
        if first:
            return first
        try:
            async with asyncio.timeout(self._seconds):
                event = await self._exchange.event()
        except TimeoutError:
            self._on_broken(f"the response stopped for {self._seconds:g} s")
        except (h11.RemoteProtocolError, vespiary.ConnectionClosed) as error:
            self._on_broken(f"the response broke off: {error}")
        else:
            if isinstance(event, h11.Data):
                return bytes(event.data)
            self._exchange.finish()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End it: the client has all, or is gone."""
        self._exchange.close()


def _nothing() -> None:
    return
