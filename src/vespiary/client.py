"""Clients for the same URLs: for tests, and for talking onward."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Generator, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from vespiary._asked import Asked, target_of
from vespiary._core import Hooks
from vespiary._hooks import as_handler, handler_hooks
from vespiary._opening import open_connection
from vespiary._options import native_options
from vespiary._redirects import Target
from vespiary.backoff import Attempts, Backoff
from vespiary.filters import FilterFactory, add_filters
from vespiary.framing import Framing
from vespiary.handler import AsyncHandler, Handler
from vespiary.limits import Deadlines, Limits, SlowConsumer
from vespiary.trace import requires
from vespiary.websocket import WebSocket

if TYPE_CHECKING:
    from vespiary._core import Connection
    from vespiary.errors import CloseReason

__all__ = ["ClientOptions", "Connecting", "connect"]

logger = logging.getLogger("vespiary")


class ClientOptions(TypedDict, total=False):
    """The options of a client, of `vespiary.connect` and of `vespiary.sync.connect`.

    Attributes:
        framing: As for `Server.add`.
        limits: As for `Server.add`, as far as they concern one connection.
        deadlines: The same. `handshake_seconds` bounds all that one attempt takes: the name's
            resolution, every address, the handshake and redirects.
        slow_consumer: As for `Server.add`.
        websocket: What is WebSocket's own; `origins` are a server's, and mean nothing here.
        subprotocols: WebSocket subprotocols to offer, the best first; left out, `websocket`'s. A
            server that chooses another one is refused (RFC 6455 section 4.1).
        headers: Further header fields of the WebSocket handshake, behind `websocket`'s.
        filters: What stands between the socket and the framing: see `vespiary.Filter`.
        source: The local IP address to connect from.
        half_close: Without a handler: when the peer of a stream has finished sending, stay open
            for sending until `close()`. Left out, the connection closes then.
        redirects_max: How many redirects (301, 302, 303, 307, 308) of the WebSocket handshake are
            followed. 0, as in browsers: where a server sends its clients is for them to trust.
        reconnect: How failed attempts are repeated, and how a connection is followed by the next in
            `async for`. Left out, a failure is told at once, and `async for` goes by `Backoff()`.
        simultaneous_handshakes: Let several WebSocket handshakes with one address run at a time,
            which RFC 6455 section 4.1 forbids: for many connections to a server that is far away
            or slow to answer.
    """

    framing: Framing | None
    limits: Limits | None
    deadlines: Deadlines | None
    slow_consumer: SlowConsumer
    websocket: WebSocket | None
    subprotocols: Iterable[str]
    headers: Iterable[tuple[str, str]]
    filters: Sequence[FilterFactory]
    source: str | None
    half_close: bool
    redirects_max: int
    reconnect: Backoff | None
    simultaneous_handshakes: bool


class Connecting:
    """A connection that is being made, or one after the other.

    `await` it for one connection; use it in `async with` for one that is closed at the block's end;
    in `async for` for the next one whenever one has ended; or `await` its `stay()` to leave all of
    that to a handler.
    """

    def __init__(
        self, target: Target, asked: Asked, backoff: Backoff | None, has_handler: bool
    ) -> None:
        self._target = target
        self._asked = asked
        self._backoff = backoff
        self._has_handler = has_handler
        self._attempts = Attempts(backoff or Backoff())
        self._sleep = asyncio.sleep
        self._connection: Connection | None = None

    def __await__(self) -> Generator[Any, None, Connection]:
        return self._connect().__await__()

    async def __aenter__(self) -> Connection:
        self._connection = await self
        return self._connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            await _end(self._connection)

    async def __aiter__(self) -> AsyncIterator[Connection]:
        """Each connection in turn; the next one is made when the loop asks for it.

        Without a handler the loop's body has the connection to itself, and it is closed at the
        body's end. With one, the loop waits behind its body for the connection's end, and is over
        once this end has closed one in good order.

        Raises:
            Exception: the failure of an attempt, when it is final or there have been enough: see
                `Backoff`.
        """
        while True:
            connection = await self._connect_again()
            try:
                yield connection
                if self._has_handler:
                    reason = await connection.wait_closed()
                    if _is_own(reason):
                        return
            finally:
                await _end(connection)
            requires("rfc6455/7.2.3/1")
            await self._wait(self._attempts.ended(), "the connection has ended")

    async def stay(self) -> CloseReason:
        """Stay connected for the handler, until this end closes a connection in good order.

        Cancellation: closes the connection.

        Raises:
            Exception: as for iterating.
        """
        async for connection in self:
            reason = await connection.wait_closed()
            if _is_own(reason):
                return reason
        raise AssertionError("the loop ends by its return")

    async def _connect(self) -> Connection:
        if self._backoff is None:
            return await open_connection(self._target, self._asked)
        return await self._connect_again()

    async def _connect_again(self) -> Connection:
        """A connection, in as many attempts as it takes."""
        while True:
            try:
                connection = await open_connection(self._target, self._asked)
            except Exception as error:
                seconds = self._attempts.failed(error)
                why = str(error)
            else:
                self._attempts.opened()
                return connection
            await self._wait(seconds, why)

    async def _wait(self, seconds: float, why: str) -> None:
        logger.info("%s: %s; trying again in %.1f s", self._target.endpoint, why, seconds)
        await self._sleep(seconds)


def _is_own(reason: CloseReason) -> bool:
    return reason.side == "local" and reason.kind == "closed"


async def _end(connection: Connection) -> None:
    """Close in good order, and wait for the end."""
    connection.close()
    await connection.wait_closed()


def connect(
    url: str, handler: Handler | AsyncHandler | None = None, **options: Unpack[ClientOptions]
) -> Connecting:
    """Connect to a server; the connection's messages come from `receive()` or `async for`.

    ::

        async with vespiary.connect("ws://127.0.0.1:9001") as connection:
            connection.send("hello")
            print(await connection.receive())

    Args:
        url: `tcp://`, `unix:///path` or `ws://`. A user name and password in a `ws://` URL are sent
            as basic authentication (RFC 7617).
        handler: Left out, messages are received; given, it is called as a server's would be, for
            each connection.
        options: See `vespiary.client.ClientOptions`.

    Raises:
        ConfigurationError: the URL, a header field or a subprotocol cannot be. The others are
            raised when the connection is awaited:
        OSError: the connect was refused or has failed.
        TimeoutError: connect and handshake took longer than `handshake_seconds`.
        HandshakeRefused: the server answered with something other than 101.
        RedirectRefused: it redirected, and that is not followed.
        ConnectionClosed: the connection ended during the handshake.

    Cancellation: every attempt under way is given up.
    """
    return connecting(
        url, None if handler is None else handler_hooks(as_handler(handler)), **options
    )


def connecting(
    url: str,
    handled: Hooks | None,
    *,
    reads_when_crowded: bool = False,
    framing: Framing | None = None,
    limits: Limits | None = None,
    deadlines: Deadlines | None = None,
    slow_consumer: SlowConsumer = "wait",
    websocket: WebSocket | None = None,
    subprotocols: Iterable[str] = (),
    headers: Iterable[tuple[str, str]] = (),
    filters: Sequence[FilterFactory] = (),
    source: str | None = None,
    half_close: bool = False,
    redirects_max: int = 0,
    reconnect: Backoff | None = None,
    simultaneous_handshakes: bool = False,
) -> Connecting:
    """The same for a handler's callables, whose reading may go on while the write queue is full."""
    asked_websocket = websocket or WebSocket()
    target = target_of(url, [*asked_websocket.headers, *headers])
    hooks = Hooks() if handled is None else handled.copy()
    deadlines = deadlines or Deadlines()
    native = native_options(
        target.endpoint,
        framing,
        limits or Limits(),
        deadlines,
        slow_consumer,
        websocket=websocket,
        parts=hooks.part is not None,
        filtered=add_filters(hooks, filters),
        reads_when_crowded=reads_when_crowded or hooks.message is None,
    )
    if handled is None:
        hooks.receives = True
        hooks.half_close = half_close
    asked = Asked(
        hooks=hooks,
        native=native,
        versions=tuple(asked_websocket.versions),
        subprotocols=tuple(subprotocols) or tuple(asked_websocket.subprotocols),
        source=source,
        redirects_max=redirects_max,
        handshake_seconds=deadlines.handshake_seconds,
        simultaneous_handshakes=simultaneous_handshakes,
    )
    asked.check(target)
    return Connecting(target, asked, reconnect, handled is not None)
