"""What a developer writes: a `Handler` with the methods it needs, or one async function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from vespiary._core import Connection, Datagram
    from vespiary.errors import CloseReason
    from vespiary.request import Request, Response
    from vespiary.server import Server

    M = TypeVar("M", default=Any)
else:
    from typing import TypeVar

    M = TypeVar("M")

__all__ = ["AnyHandler", "AsyncDatagramHandler", "AsyncHandler", "Handler"]

AsyncHandler = Callable[["Connection[Any]"], Awaitable[object]]
"""An async function that runs once per connection. When it returns, the connection is closed."""

AsyncDatagramHandler = Callable[["Datagram"], Awaitable[object]]
"""An async function that runs once per datagram."""


class Handler(Generic[M]):
    """The base class of handlers. All methods are optional.

    `M` is the type of the messages, for type checkers: `Handler[str]` for a WebSocket endpoint that
    accepts only text, `Handler[bytes]` for a stream, and `Handler[str | bytes]` for both.

    One object serves all connections. Keep the state of one connection in `connection.data`.
    Plain methods run on the loop's thread, one at a time. `on_request`, `on_open`, `on_message`,
    `on_shutdown` and `on_close` may be async; each connection then has a task that runs them in
    order. `on_start`, `on_stop` and `on_datagram` may be async too.

    If a method raises an exception, the exception is logged with its traceback, and the connection
    is closed: on WebSocket with 1011, for a request with the status 500, and on a stream with a
    reset. Other connections are not affected. A ConnectionClosed exception is not treated as an
    error if its connection has ended.

    When a handler is added to a server, its methods are checked. A ConfigurationError is raised if
    a public name begins with `on_` but is not one of the methods below, if one of these is not
    callable or has wrong parameters, or if it is async and must be a plain method.

    After `on_open`, `connection.request` raises RuntimeError, unless the code of a method of the
    class contains `.request`, or the class sets `keep_request = True`. Otherwise the request is not
    kept, because it needs some hundred bytes per connection.
    """

    keep_request: ClassVar[bool | None] = None
    """Whether `connection.request` can be read after `on_open`. Default (None): only if a method of
    the class reads an attribute named `request`."""

    stream_requests: ClassVar[bool] = False
    """Whether `on_request` is called before the body of a request has come. It then reads the body
    with `request.chunks()` or `request.read()`, and `request.body` is empty. `on_request` must be
    async for that. Default: False, the whole body is received first."""

    def on_start(self, server: Server) -> Awaitable[None] | None:
        """Prepare. The server accepts no connection before this method has returned.

        If this method raises an exception, the server does not start. If the endpoint was added to
        a running server and shares its address with other endpoints, requests for it are answered
        with 503 until this method has returned.
        """

    def on_request(self, request: Request) -> Response | Awaitable[Response | None] | None:
        """Answer an HTTP request or a WebSocket handshake.

        If this method returns None, a WebSocket handshake is accepted, and other requests on
        `ws://` are answered with 426. On `http://`, each request needs a response: None is logged
        as an error, and answered with 500.

        The body of a response may be an async generator. See `stream_requests` for bodies of
        requests that are received piece by piece.
        """

    def on_open(self, connection: Connection[M]) -> Awaitable[None] | None:
        """The connection is ready for messages."""

    def on_message(self, connection: Connection[M], message: M) -> Awaitable[None] | None:
        """Handle a message: `str` for WebSocket text, `bytes` for everything else."""

    def on_part(self, connection: Connection[M], part: bytes, last: bool, text: bool) -> None:
        """Handle a part of a message. Define this method instead of `on_message`.

        It is called with each part as it arrives. The size of the message is not limited. `text` is
        true if this is a text message. All parts of a text message together are valid UTF-8, but
        one part may end within a character.
        """

    def on_datagram(self, datagram: Datagram) -> Awaitable[None] | None:
        """Handle a datagram, on `udp://` and `unixgram://` without `connections=True`.

        If the method is async, it runs in a separate task for each datagram. At most
        `datagrams_pending_max` of these tasks run at a time. An exception is counted and logged,
        and does not affect other datagrams.
        """

    def on_drain(self, connection: Connection[M]) -> None:
        """The queue held more than `write_high_bytes`, and has drained to `write_low_bytes`."""

    def on_subscribe(self, connection: Connection[M], topic: str) -> None:
        """The connection has subscribed to a topic or a pattern."""

    def on_unsubscribe(self, connection: Connection[M], topic: str) -> None:
        """The connection is no longer subscribed to a topic or a pattern.

        When a connection ends, this is called for each of its subscriptions, before `on_close`.
        """

    def on_end(self, connection: Connection[M]) -> None:
        """The peer of a stream has finished sending.

        With this method, the connection stays open for sending until `close()`. Without it, the
        connection is closed. A handler with async methods cannot have it: its connections stay open
        until `on_message` has returned for the last message.
        """

    def on_shutdown(self, connection: Connection[M]) -> Awaitable[None] | None:
        """The server is stopping. Send a last message, and close within `drain_seconds`.

        Without this method, the connection is closed when its queued messages are sent (with 1001
        on WebSocket).
        """

    def on_close(self, connection: Connection[M], reason: CloseReason) -> Awaitable[None] | None:
        """The connection has ended. Called once per `on_open`."""

    def on_limit(self, name: str, value: float) -> None:
        """A limit or deadline of the endpoint was reached. Without this method, it is logged.

        `name` is the name of the field of `Limits` or `Deadlines`, and `value` is its value in the
        field's unit: bytes, a count, or seconds. `on_limit` is never called while another method
        runs. If several connections reach the limit before it can be called, there is one call. For
        `write_bytes_max`, it is called again only after the queue of the connection has drained to
        `write_low_bytes`.
        """

    def on_stop(self, server: Server) -> Awaitable[None] | None:
        """Clean up: the server is stopping, and the last connection has ended."""


AnyHandler = Handler[Any] | type[Handler[Any]] | AsyncHandler | AsyncDatagramHandler
"""What a server can serve, which is a `Handler`, a subclass of it, or an async function."""
