"""What a developer writes: a `Handler` with the methods it needs, or one async function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vespiary._core import Connection
    from vespiary.errors import CloseReason
    from vespiary.request import Request, Response
    from vespiary.server import Server

__all__ = ["AsyncHandler", "Handler"]

AsyncHandler = Callable[["Connection"], Awaitable[object]]
"""An async function that is run for each connection; the connection closes when it returns."""


class Handler:
    """The methods that an endpoint's events call, all of them optional.

    One object serves all connections; what belongs to one goes in `connection.data`. Methods run on
    the loop's thread, one at a time, never inside one another; `on_request`, `on_open`,
    `on_message` and `on_close` may also be async, in which case each connection has a task that
    runs them in order. An exception closes the connection (1011 on WebSocket), is logged once with
    its traceback, and concerns nobody else.
    """

    def on_start(self, server: Server) -> None:
        """The server listens."""

    def on_request(self, request: Request) -> Response | Awaitable[Response | None] | None:
        """An HTTP request or an upgrade request came: accept, refuse, choose a subprotocol.

        None accepts an upgrade and answers anything else with 426.
        """

    def on_open(self, connection: Connection) -> Awaitable[None] | None:
        """The connection is ready for messages."""

    def on_message(self, connection: Connection, message: Any) -> Awaitable[None] | None:
        """A message came: text as `str` on WebSocket, everything else as `bytes`.

        An override may name the type that its endpoint gets: `bytes`, `str`, or `bytes | str`.
        """

    def on_part(self, connection: Connection, part: bytes, last: bool, text: bool) -> None:
        """A part of a message came; defining this replaces `on_message` and bounds no message.

        Parts are handed over as they arrive, whatever the message's size. `text` tells whether the
        message is text (checked as UTF-8 over all its parts, which may end within a character).
        """

    def on_drain(self, connection: Connection) -> None:
        """The write queue has fallen to `write_low_bytes`, having been above `write_high_bytes`."""

    def on_end(self, connection: Connection) -> None:
        """The peer of a stream has finished sending.

        Defining this keeps the connection open for sending until `close()`.
        """

    def on_close(self, connection: Connection, reason: CloseReason) -> Awaitable[None] | None:
        """The connection has ended. Called once for each `on_open`."""

    def on_limit(self, name: str, value: int) -> None:
        """A limit or deadline of the endpoint was reached; without this method it is logged."""

    def on_stop(self, server: Server) -> None:
        """The server stops: nobody is accepted any more, connections are about to be closed."""
