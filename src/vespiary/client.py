"""Clients: `connect`, one connection or one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import warnings
from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Any, Self, Unpack

from vespiary._asked import Asked, target_of
from vespiary._core import Connection as NativeConnection
from vespiary._core import Hooks
from vespiary._header_lines import HeaderMaker, check_maker, header_lines, made_lines
from vespiary._hooks import as_handler, handler_hooks
from vespiary._opening import open_connection
from vespiary._option_checks import checked_subprotocols
from vespiary._options import native_options
from vespiary._printable import escaped
from vespiary._redirects import Target
from vespiary.backoff import Attempts, Backoff
from vespiary.client_options import HANDSHAKES_PER_ADDRESS_MAX, ClientOptions, check_options
from vespiary.filters import add_filters
from vespiary.handler import AsyncHandler, Handler
from vespiary.limits import Deadlines, Limits
from vespiary.server_options import SLOW_CONSUMER
from vespiary.trace import requires
from vespiary.websocket import WebSocket

if TYPE_CHECKING:
    from vespiary._core import Connection
    from vespiary.errors import CloseReason

__all__ = ["ClientOptions", "Connecting", "connect"]

logger = logging.getLogger("vespiary")


class Connecting:
    """The result of `connect`.

    `await` it to get a connection. Use it in `async with` to get a connection that is closed at the
    end of the block, or in `async for` to get a new connection whenever the previous one has ended.
    With a handler, `await` its `stay()`. If none of these is done, Python issues a RuntimeWarning,
    as for a coroutine.
    """

    _is_used = True

    def __init__(
        self,
        target: Target,
        asked: Asked,
        backoff: Backoff | None,
        has_handler: bool,
        headers: HeaderMaker | None = None,
        close_seconds: float | None = None,
    ) -> None:
        self._target = target
        self._close_seconds = close_seconds
        self._headers = headers
        self._asked = asked
        self._backoff = backoff
        self._has_handler = has_handler
        self._attempts = Attempts(backoff or Backoff(), clock=_loop_time)
        self._sleep = asyncio.sleep
        self._connection: Connection | None = None
        self._is_used = False

    def __await__(self) -> Generator[Any, None, Connection]:
        self._is_used = True
        return self._connect().__await__()

    @property
    def hooks(self) -> Hooks:
        """What the connections call; internal."""
        return self._asked.hooks

    def used(self) -> Self:
        """Return it, marked as awaited: dropping it gives no warning any more."""
        self._is_used = True
        return self

    def __del__(self) -> None:
        if not self._is_used:
            warnings.warn(
                f"vespiary.connect({self._target.endpoint.bare!r}) was never awaited, so it"
                " connected to nothing: await it, or use it in 'async with' or 'async for'",
                RuntimeWarning,
                stacklevel=2,
                source=self,
            )

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            text = f"{type(self).__name__!r} object has no attribute {name!r}"
            if not name.startswith("_") and hasattr(NativeConnection, name):
                text += ": it is not connected yet; await it first, or use it in 'async with'"
            raise AttributeError(text, name=name, obj=self)

    async def __aenter__(self) -> Connection:
        self._connection = await self
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: object, traceback: object
    ) -> None:
        if self._connection is not None:
            await self._end(self._connection, is_in_time=kind is not None)

    async def _end(self, connection: Connection, *, is_in_time: bool) -> None:
        """Close cleanly, and wait for the end: as long as the peer reads, or `close_seconds`."""
        connection.close()
        if not is_in_time:
            try:
                await connection.wait_closed()
            except asyncio.CancelledError:
                await ended_in_time(connection, self._close_seconds)
                raise
        await ended_in_time(connection, self._close_seconds)

    async def __aiter__(self) -> AsyncGenerator[Connection]:
        """Each connection in turn; the next one is made when the loop asks for it.

        Without a handler the loop's body has the connection to itself, and it is closed at the
        body's end. With one, the loop waits behind its body for the connection's end, and is over
        once this end has closed one cleanly. A loop that is left by `break`, an exception or a
        cancellation does not wait: the connection is closed behind it, within `close_seconds`.

        Raises:
            Exception: the failure of an attempt, when it is final or there have been enough: see
                `Backoff`.
        """
        self._is_used = True
        while True:
            connection = await self._connect_again()
            # If the program drops this generator, the garbage collector may find the connection
            # too. It must not end it: asyncio closes the generator, and so the connection, soon.
            connection._keep()
            try:
                yield connection
                if self._has_handler:
                    reason = await connection.wait_closed()
                    if _is_own(reason):
                        return
            except BaseException:
                await self._end(connection, is_in_time=True)
                raise
            await self._end(connection, is_in_time=False)
            requires("rfc6455/7.2.3/1")
            await self._wait(
                self._attempts.ended(), f"the connection was {connection.close_reason}"
            )

    async def stay(self) -> CloseReason:
        """Stay connected with a handler, until this end closes a connection cleanly.

        Cancellation: closes the connection, within `close_seconds`. A second one aborts it.

        Raises:
            Exception: as for iterating.
        """
        async with contextlib.aclosing(aiter(self)) as connections:
            async for connection in connections:
                reason = await connection.wait_closed()
                if _is_own(reason):
                    return reason
        raise AssertionError("the loop ends by its return")

    async def _connect(self) -> Connection:
        self._is_used = True
        if self._backoff is None:
            return await self._attempt()
        return await self._connect_again()

    async def _attempt(self) -> Connection:
        target = self._target
        if self._headers is not None:
            target = target.with_headers(await made_lines(self._headers))
            self._asked.check(target)
        return await open_connection(target, self._asked)

    async def _connect_again(self) -> Connection:
        """A connection, in as many attempts as it takes."""
        failures = 0
        while True:
            try:
                connection = await self._attempt()
            except Exception as error:
                seconds = self._attempts.failed(error)
                failures += 1
                said = getattr(error, "strerror", None) or error
                why = f"attempt {failures} failed: {escaped(str(said))}"
            else:
                self._attempts.opened()
                if failures:
                    logger.info(
                        "Connected to %s in attempt %d", self._target.endpoint.bare, failures + 1
                    )
                return connection
            await self._wait(seconds, why)

    async def _wait(self, seconds: float, why: str) -> None:
        where = self._target.endpoint.bare
        logger.info("Connecting to %s again in %.1f s: %s", where, seconds, why)
        await self._sleep(seconds)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _is_own(reason: CloseReason) -> bool:
    return reason.side == "local" and reason.kind == "closed"


_LATER_SECONDS = 0.1
"""How much longer than `close_seconds` leaving waits: the connection's own deadline comes first
where the peer has taken everything, and that ends it without a reset."""


async def ended_in_time(connection: Connection, seconds: float | None) -> None:
    """Wait for `seconds` until a connection that closes has ended, and then abort it.

    Cancellation: aborts it at once.
    """
    try:
        async with asyncio.timeout(None if seconds is None else seconds + _LATER_SECONDS):
            await connection.wait_closed()
    except TimeoutError:
        connection.abort()
        await connection.wait_closed()
    except BaseException:
        connection.abort()
        raise


def connect(
    url: str, handler: Handler | AsyncHandler | None = None, **options: Unpack[ClientOptions]
) -> Connecting:
    """Connect to a server; the connection's messages come from `receive()` or `async for`.

    ::

        async with vespiary.connect("ws://127.0.0.1:9001") as connection:
            connection.send("hello")
            print(await connection.receive())

    At its end, the block waits until everything that was sent is delivered, as long as the peer
    reads. If an exception or a cancellation ends the block, it waits at most `close_seconds`, and
    then aborts the connection. A second cancellation aborts it at once.

    Args:
        url: `tcp://`, `unix:///path` or `ws://`, or with TLS `tls://` or `wss://`. A user name and
            password in a `ws://` or `wss://` URL are sent as basic authentication (RFC 7617).
        handler: A handler, as for a server, whose methods are called for each connection. Default:
            you receive messages with `receive()` or `async for`.
        options: See `vespiary.ClientOptions`.

    Raises:
        ConfigurationError: the URL or an option is not valid. The others are raised when the
            connection is awaited:
        OSError: the connect was refused or has failed.
        TimeoutError: connect and handshake took longer than `handshake_seconds`.
        HandshakeRefused: the server answered with a status other than 101.
        RedirectRefused: the server redirected, and the client does not follow.
        ProxyRefused: the proxy did not open a tunnel.
        ConnectionClosed: the connection ended during the handshake.

    Cancellation: every attempt in progress is aborted.
    """
    handled = None if handler is None else handler_hooks(as_handler(handler))
    return connecting(url, handled, options)


def connecting(
    url: str, handled: Hooks | None, options: ClientOptions, *, reads_when_crowded: bool = False
) -> Connecting:
    """The same for a handler's callables; a full write queue need not pause their reading."""
    check_options(options)
    websocket = options.get("websocket")
    asked_websocket = websocket or WebSocket()
    headers = options.get("headers", ())
    maker = headers if callable(headers) else None
    if maker is not None:
        check_maker(maker)
    lines = () if callable(headers) else header_lines(headers)
    target = target_of(url, header_lines(asked_websocket.headers) + lines)
    subprotocols = checked_subprotocols(options.get("subprotocols", ()))
    hooks = Hooks() if handled is None else handled.copy()
    deadlines = options.get("deadlines") or Deadlines()
    native = native_options(
        target.endpoint,
        options.get("framing"),
        options.get("limits") or Limits(),
        deadlines,
        options.get("slow_consumer", SLOW_CONSUMER),
        websocket=websocket,
        parts=hooks.part is not None,
        filtered=add_filters(hooks, options.get("filters", ())),
        reads_when_crowded=reads_when_crowded or hooks.message is None,
    )
    if handled is None:
        hooks.receives = True
        hooks.half_close = options.get("half_close", False)
    asked = Asked(
        hooks=hooks,
        native=native,
        versions=tuple(asked_websocket.versions),
        subprotocols=subprotocols or tuple(asked_websocket.subprotocols),
        source=options.get("source"),
        proxy=options.get("proxy", True),
        tls=options.get("tls"),
        redirects_max=options.get("redirects_max", 0),
        handshake_seconds=deadlines.handshake_seconds,
        handshakes_per_address_max=options.get(
            "handshakes_per_address_max", HANDSHAKES_PER_ADDRESS_MAX
        ),
    )
    asked.check(target)
    has_handler = handled is not None
    backoff = options.get("reconnect")
    return Connecting(target, asked, backoff, has_handler, maker, deadlines.close_seconds)
