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
"""An async function that is run for each connection; the connection closes when it returns."""

AsyncDatagramHandler = Callable[["Datagram"], Awaitable[object]]
"""An async function that is run for each datagram."""


class Handler(Generic[M]):
    """The methods that an endpoint's events call, all of them optional.

    `M` is the type of the messages, for type checkers: `Handler[str]` on a WebSocket endpoint that
    accepts text only, `Handler[bytes]` on a stream, `Handler[str | bytes]` where both may come;
    plain `Handler` leaves it open.

    One object serves all connections; what belongs to one goes in `connection.data`. Methods run on
    the loop's thread, one at a time, never inside one another. `on_request`, `on_open`,
    `on_message`, `on_shutdown` and `on_close` may also be async, in which case each connection has
    a task that runs them in order; `on_start` and `on_stop` may be async too. An exception ends the
    connection (1011 on WebSocket, status 500 for a request, a reset on a stream, so that the peer
    does not take half an answer for a complete one), is logged once with its traceback, and affects
    no other connection; a ConnectionClosed of a connection that has ended is none.

    Adding a handler to a server checks its methods: a public name that begins with `on_` and is not
    a hook, a hook that is not callable, one that is async where only a plain one is called, and one
    with the wrong parameters are a ConfigurationError.
    """

    keep_request: ClassVar[bool | None] = None
    """Whether `connection.request` can be read after `on_open`: None, the default, keeps it where a
    method of the class reads an attribute `request`. A request takes some hundred bytes."""

    def on_start(self, server: Server) -> Awaitable[None] | None:
        """Prepare: the addresses are bound, and nothing is accepted before this has returned.

        Where an endpoint is added to an address that serves already, its requests are answered 503
        until then. An exception stops the start of the server, which closes what it had opened.
        """

    def on_request(self, request: Request) -> Response | Awaitable[Response | None] | None:
        """Answer an HTTP request or an upgrade request: accept, refuse, choose a subprotocol.

        None accepts an upgrade; a request without one is answered 426 on `ws://`. On `http://` each
        request needs a response: None is logged as an error, and answered 500.
        """

    def on_open(self, connection: Connection[M]) -> Awaitable[None] | None:
        """The connection is ready for messages."""

    def on_message(self, connection: Connection[M], message: M) -> Awaitable[None] | None:
        """Handle a message: `str` for WebSocket text, `bytes` for everything else."""

    def on_part(self, connection: Connection[M], part: bytes, last: bool, text: bool) -> None:
        """Handle a part of a message; defined in place of `on_message`.

        Parts are passed on as they arrive. The message's size is not limited. `text` is whether the
        message is text (checked as UTF-8 over all its parts, which may end within a character).
        """

    def on_datagram(self, datagram: Datagram) -> Awaitable[None] | None:
        """Handle a datagram, on `udp://` and `unixgram://`.

        An async method gets a task for each datagram, `datagrams_pending_max` at a time. An
        exception is counted and logged, and concerns no other datagram.
        """

    def on_drain(self, connection: Connection[M]) -> None:
        """The write queue has fallen to `write_low_bytes`, having been above `write_high_bytes`."""

    def on_end(self, connection: Connection[M]) -> None:
        """The peer of a stream has finished sending.

        Defining this keeps the connection open for sending until `close()`.
        """

    def on_shutdown(self, connection: Connection[M]) -> Awaitable[None] | None:
        """The server is stopping: finish, send a last message, and close within `drain_seconds`.

        Without this method the connection is closed at once (1001 on WebSocket), after what is
        queued.
        """

    def on_close(self, connection: Connection[M], reason: CloseReason) -> Awaitable[None] | None:
        """The connection has ended. Called once per `on_open`."""

    def on_limit(self, name: str, value: float) -> None:
        """A limit or deadline of the endpoint was reached; without this method it is logged.

        `name` is the field of `Limits` or `Deadlines`, and `value` is its setting, in the field's
        unit: bytes, a count, or seconds. Called between two other methods, once for all
        connections that have reached the limit since, and for `write_bytes_max` once until the
        queue of the connection has fallen to `write_low_bytes`.
        """

    def on_stop(self, server: Server) -> Awaitable[None] | None:
        """Clean up: the server is stopping, and the last connection has ended."""


AnyHandler = Handler[Any] | type[Handler[Any]] | AsyncHandler | AsyncDatagramHandler
"""What can be served, which is a `Handler`, a subclass of it, or an async function."""
