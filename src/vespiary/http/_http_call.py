"""A call of an ASGI application for one HTTP request: its `receive` and `send`.

The response's head is held until its first piece, as ASGI asks for, and leaves with it: a response
of one piece is one write, with its length in the head. `receive` and `send` suspend only where
there is something to wait for: no queue and no task lies between the application and the engine.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from vespiary.errors import ConnectionClosed
from vespiary.http._access import log_access
from vespiary.http._files import send_part
from vespiary.http._hosting import is_cancelled
from vespiary.http._messages import (
    BYTES,
    ClientGone,
    header_fault,
    is_disconnect,
    message_type,
    out_of_order,
    status_of,
    wrong_field,
)

if TYPE_CHECKING:
    from vespiary._core import Exchange
    from vespiary.http._hosting import Hosting

__all__ = ["HTTPCall"]

_START, _FIRST_BODY, _BODY, _TRAILERS, _DONE = range(5)
"""What is expected next: `http.response.start`, its first body, further ones, trailers, nothing."""

_EXPECTED = {
    _START: (("http.response.start",), "the response has not begun"),
    _FIRST_BODY: (("http.response.body",), "the response has begun"),
    _BODY: (("http.response.body",), "the body is not complete"),
    _TRAILERS: (("http.response.trailers",), "the body is complete"),
    _DONE: ((), "the response is complete"),
}
_BODY_TYPE = "http.response.body"
_LISTED = (list, tuple)
_DISCONNECT = "http.disconnect"
_FAILED_HEADERS = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
_FAILED_BODY = b"Internal Server Error\n"


class HTTPCall:
    """One HTTP request that the application answers."""

    __slots__ = (
        "_exchange",
        "_has_told",
        "_has_trailers",
        "_headers",
        "_hosting",
        "_is_received",
        "_is_watching",
        "_next",
        "_stage",
        "_status",
        "_waiters",
        "task",
    )

    def __init__(self, hosting: Hosting, exchange: Exchange) -> None:
        self._hosting = hosting
        self._exchange = exchange
        self._stage = _START
        self._status = 0
        self._headers: Iterable[tuple[bytes, bytes]] = ()
        self._has_trailers = False
        self._is_received = False
        self._has_told = False
        self._is_watching = False
        self._next: bytes | None = None
        self._waiters: list[asyncio.Future[None]] | None = None
        self.task: asyncio.Task[None] | None = None

    async def run(self, scope: dict[str, Any]) -> None:
        """Call the application, and see to it that the response is complete."""
        try:
            await self._hosting.app(scope, self.receive, self.send)
        except BaseException as error:
            if is_cancelled(error):
                self._give_up(error)
                raise
            self._fail(error)
        else:
            if self._stage != _DONE and not self._exchange.is_disconnected:
                if self._has_told:
                    self._break_off()
                else:
                    self._fail(self._unfinished())
        finally:
            self._end()

    async def receive(self) -> dict[str, Any]:
        """Return the next piece of the request's body, or that the client has disconnected."""
        if self._is_received:
            return await self._disconnect()
        exchange = self._exchange
        if not exchange.has_body:
            self._is_received = True
            return {"type": "http.request", "body": b"", "more_body": False}
        if self._stage == _DONE:
            return {"type": _DISCONNECT}
        try:
            piece, self._next = self._next, None
            while piece is None:
                piece = exchange.receive()
                if piece is None:
                    await self._change()
            # Where the rest is there already, one message is enough.
            following = exchange.receive() if piece else piece
        except (ConnectionClosed, RuntimeError):
            # The client went away, or the response became complete meanwhile.
            self._is_received = self._has_told = True
            return {"type": _DISCONNECT}
        if following == b"":
            self._is_received = True
            return {"type": "http.request", "body": piece, "more_body": False}
        self._next = following
        return {"type": "http.request", "body": piece, "more_body": True}

    async def send(self, message: dict[str, Any]) -> None:
        """Send a part of the response.

        Raises:
            OSError: the client has disconnected.
            RuntimeError: the message cannot be sent now.
            TypeError: the message, or a field of it, is of a wrong type.
            ValueError: a field has a value that cannot be sent.
        """
        # The two messages of most responses come first.
        try:
            kind = message["type"]
        except (TypeError, KeyError, IndexError):
            kind = None
        if type(kind) is not str:
            kind = message_type(message)
        stage = self._stage
        if stage == _START:
            if kind == "http.response.start":
                self._begin(message)
            elif kind == "http.response.early_hint":
                self._hint(message)
            else:
                raise out_of_order(kind, *_EXPECTED[stage])
        elif stage == _DONE or (stage == _TRAILERS) != (kind == "http.response.trailers"):
            raise out_of_order(kind, *_EXPECTED[stage])
        elif self._exchange.is_disconnected:
            raise ClientGone
        elif kind == _BODY_TYPE:
            if not self._send_body(message):
                await self._room()
        elif kind == "http.response.pathsend" and stage == _FIRST_BODY:
            await self._send_file(message)
        elif stage == _TRAILERS:
            self._send_trailers(message)
        else:
            raise out_of_order(kind, *_EXPECTED[stage])

    def _begin(self, message: dict[str, Any]) -> None:
        if self._exchange.is_disconnected:
            raise ClientGone
        self._status = status_of(message)
        headers = message.get("headers", ())
        # Checked by the engine when they are sent; a generator could not be read twice.
        self._headers = headers if isinstance(headers, _LISTED) else self._listed(message)
        self._has_trailers = bool(message.get("trailers", False))
        self._stage = _FIRST_BODY

    @staticmethod
    def _listed(message: dict[str, Any]) -> list[tuple[bytes, bytes]]:
        try:
            return list(message["headers"])
        except TypeError:
            raise header_fault(message, message["headers"]) from None

    def _send_body(self, message: dict[str, Any]) -> bool:
        """Send a piece; whether there is room for another."""
        body = message.get("body", b"")
        if not isinstance(body, BYTES):
            raise wrong_field(message, "body", "bytes")
        has_more = bool(message.get("more_body", False))
        if self._stage == _FIRST_BODY:
            if not has_more and not self._has_trailers:
                self._respond(body if type(body) is bytes else bytes(body))
                return True
            self._start()
        has_room = self._exchange.write(body) if body else self._exchange.is_writable
        if has_more:
            return has_room
        if self._has_trailers:
            self._stage = _TRAILERS
        else:
            self._exchange.end()
            self._done()
        return True

    def _respond(self, body: bytes) -> None:
        try:
            self._exchange.respond(self._status, self._headers, body)
        except (TypeError, IndexError):
            raise self._header_fault() from None
        self._done()

    def _start(self) -> bool:
        """Send the head; whether a body may follow it."""
        try:
            has_body = self._exchange.start(self._status, self._headers)
        except (TypeError, IndexError):
            raise self._header_fault() from None
        self._stage = _BODY
        return has_body

    def _header_fault(self) -> TypeError:
        return header_fault({"type": "http.response.start"}, self._headers)

    def _send_trailers(self, message: dict[str, Any]) -> None:
        trailers = message.get("headers", ())
        if message.get("more_trailers", False):
            raise ValueError("'more_trailers' must be False: send all trailers in one message")
        try:
            self._exchange.end(trailers)
        except (TypeError, IndexError):
            raise header_fault(message, trailers) from None
        self._done()

    def _hint(self, message: dict[str, Any]) -> None:
        links = message.get("links", ())
        try:
            self._exchange.inform(103, [(b"link", bytes(link)) for link in links])
        except TypeError:
            raise wrong_field(message, "links", "a list of bytes") from None

    async def _send_file(self, message: dict[str, Any]) -> None:
        path = message.get("path")
        if not isinstance(path, str):
            raise wrong_field(message, "path", "a str")
        with await asyncio.to_thread(open, path, "rb", 0) as file:
            size = os.fstat(file.fileno()).st_size
            if self._start():
                await send_part(self._exchange, file.fileno(), 0, size, self._room)
        self._exchange.end()
        self._done()

    def _done(self) -> None:
        """The response is complete: wake what waits for more of the request."""
        self._stage = _DONE
        if self._waiters:
            self._wake()

    async def _room(self) -> None:
        """Wait until the client has read enough.

        Raises:
            ClientGone: it has disconnected.
        """
        exchange = self._exchange
        while not exchange.is_writable and not exchange.is_disconnected:
            await self._change()
        if exchange.is_disconnected:
            raise ClientGone

    async def _disconnect(self) -> dict[str, Any]:
        exchange = self._exchange
        while not (self._stage == _DONE or exchange.is_disconnected or exchange.is_peer_finished):
            await self._change()
        # One that has finished sending may still read; but the application need not answer it.
        self._has_told = True
        return {"type": _DISCONNECT}

    async def _change(self) -> None:
        """Wait until something may have changed."""
        if not self._is_watching:
            self._is_watching = True
            self._exchange.set_waker(self._wake)
        waiter = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            waiting = self._waiters or []  # Another list, or none, where it was woken.
            if waiter in waiting:
                waiting.remove(waiter)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def _give_up(self, error: BaseException) -> None:
        # A coroutine that is closed has no loop any more.
        is_cancelled = isinstance(error, asyncio.CancelledError)
        if is_cancelled and self._stage != _DONE and not self._exchange.is_disconnected:
            self._break_off()

    def _break_off(self) -> None:
        """The application leaves the request without a whole response."""
        exchange = self._exchange
        if exchange.is_started:
            exchange.abort()
        else:
            self._status = 500
            exchange.respond(500, _FAILED_HEADERS, _FAILED_BODY)
        self._done()

    def _unfinished(self) -> RuntimeError:
        if self._stage == _START:
            return RuntimeError("the application returned without a response")
        return RuntimeError(
            "the application returned before its response was complete:"
            f" {_EXPECTED[self._stage][0][0]!r} was not sent"
        )

    def _fail(self, error: BaseException) -> None:
        """Log an exception, and answer 500; where the response has begun, end the connection."""
        exchange = self._exchange
        if (exchange.is_disconnected or self._has_told) and is_disconnect(error):
            if not exchange.is_disconnected and self._stage != _DONE:
                self._break_off()
            return
        exchange.connection._report(error)
        if self._stage != _DONE and not exchange.is_disconnected:
            self._break_off()

    def _end(self) -> None:
        hosting = self._hosting
        if self.task is not None:
            hosting.calls.discard(self)
            self.task = None
        if hosting.has_access_log:
            exchange = self._exchange
            log_access(
                exchange.connection.peer,
                exchange.method,
                exchange.target,
                exchange.minor_version,
                self._status if self._stage != _START else 0,
            )


def begin_http(
    hosting: Hosting, make_scope: Callable[[Exchange], dict[str, Any]], task_name: str
) -> Callable[[Exchange], None]:
    """Return what the engine calls for each request of an endpoint."""

    def begin(exchange: Exchange) -> None:
        call = HTTPCall(hosting, exchange)
        task = hosting.starter.begin(call.run(make_scope(exchange)), task_name)
        if task is not None:
            # Held until it has ended: asyncio itself holds a task only weakly.
            call.task = task
            hosting.calls.add(call)

    return begin
