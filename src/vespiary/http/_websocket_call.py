"""A call of an ASGI application for one WebSocket: its `receive` and `send`.

The call begins at the handshake's request, and its task stays until the application returns. The
application accepts the WebSocket, or refuses it with a response. Messages wait in the connection's
own inbox, which pauses reading when it is full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from vespiary.close_code import CloseCode
from vespiary.errors import ConnectionClosed
from vespiary.http._access import log_access
from vespiary.http._hosting import is_cancelled
from vespiary.http._messages import (
    BYTES,
    ClientGone,
    is_disconnect,
    message_type,
    out_of_order,
    status_of,
    text_pairs,
    wrong_field,
)
from vespiary.request import NativeResponse

if TYPE_CHECKING:
    from vespiary._core import Connection
    from vespiary.http._hosting import Hosting
    from vespiary.request import Request

__all__ = ["WebSocketCall", "begin_websocket", "is_working", "opened"]

_CONNECT, _HANDSHAKE, _DENIAL, _OPEN, _CLOSED, _GONE = range(6)
"""Before `websocket.connect`; before the answer; within a response that refuses; open; closed by
the application; disconnected, and the application knows it."""

_EXPECTED = {
    _CONNECT: (
        ("websocket.accept", "websocket.close", "websocket.http.response.start"),
        "the WebSocket is not accepted yet",
    ),
    _DENIAL: (("websocket.http.response.body",), "the response to the handshake has begun"),
    _OPEN: (("websocket.send", "websocket.close"), "the WebSocket is open"),
    _CLOSED: ((), "the WebSocket is closed"),
}
_EXPECTED[_HANDSHAKE] = _EXPECTED[_CONNECT]

_FAILED = NativeResponse(("failed",))
_ABNORMAL = 1006
"""The code for a connection that ended without a close frame (RFC 6455 section 7.1.5)."""
_NO_CODE = 1005
_TURNS = 3
_TURN_SECONDS = 0.005


class WebSocketCall:
    """One WebSocket that the application serves."""

    is_call: ClassVar[bool] = True
    __slots__ = (
        "_body",
        "_change",
        "_connection",
        "_denial",
        "_hosting",
        "_is_open",
        "_request",
        "_stage",
        "_status",
        "_subprotocols",
        "task",
    )

    def __init__(self, hosting: Hosting, connection: Connection, request: Request) -> None:
        self._hosting = hosting
        self._connection = connection
        self._request: Request | None = request
        self._subprotocols = request.subprotocols
        self._stage = _CONNECT
        self._status = 0
        self._is_open = False
        self._change: asyncio.Future[None] | None = None
        self._denial: tuple[int, list[tuple[str, str]]] = (403, [])
        self._body = bytearray()
        self.task: asyncio.Task[None] | None = None

    def done(self) -> bool:
        """Whether the handshake has been answered; asked by the stop of the server."""
        return self._stage > _DENIAL

    def cancel(self) -> None:
        """The client has disconnected before the handshake was answered."""
        if self._stage <= _DENIAL:
            self._stage = _GONE
        self._wake()

    def set_open(self) -> None:
        """The connection is ready for messages."""
        self._is_open = True
        self._wake()

    def _wake(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    async def run(self, scope: dict[str, Any]) -> None:
        """Call the application, and see to it that the connection is answered and closed."""
        try:
            await self._hosting.app(scope, self.receive, self.send)
        except BaseException as error:
            if is_cancelled(error):
                if isinstance(error, asyncio.CancelledError):
                    self._leave()
                raise
            self._fail(error)
        else:
            self._finish()
        finally:
            self._end()

    async def receive(self) -> dict[str, Any]:
        """Return the next message of the client, or that it has disconnected."""
        if self._stage == _CONNECT:
            self._stage = _HANDSHAKE
            return {"type": "websocket.connect"}
        # Some frameworks receive before they accept.
        while not self._is_open:
            if self._stage >= _CLOSED:
                return self._disconnect()
            self._change = asyncio.get_running_loop().create_future()
            await self._change
        try:
            message = await self._connection.receive()
        except ConnectionClosed:
            if self._stage != _CLOSED:
                self._stage = _GONE
            return self._disconnect()
        if type(message) is str:
            return {"type": "websocket.receive", "text": message}
        return {"type": "websocket.receive", "bytes": message}

    async def send(self, message: dict[str, Any]) -> None:
        """Accept or refuse the WebSocket, send a message, or close.

        Raises:
            OSError: the client has disconnected.
            RuntimeError: the message cannot be sent now.
            TypeError: the message, or a field of it, is of a wrong type.
            ValueError: a field has a value that cannot be sent.
        """
        # The usual message comes first.
        try:
            kind = message["type"]
        except (TypeError, KeyError, IndexError):
            kind = None
        if type(kind) is not str:
            kind = message_type(message)
        stage = self._stage
        if stage == _OPEN:
            if kind == "websocket.send":
                content = _content(message)
                try:
                    await self._connection.send(content)
                except ConnectionClosed:
                    raise ClientGone from None
            elif kind == "websocket.close":
                self._close(message)
            else:
                raise out_of_order(kind, *_EXPECTED[stage])
        elif stage == _GONE:
            # Applications close in a `finally`, even if the client was first.
            if kind != "websocket.close":
                raise ClientGone
        elif stage == _CLOSED:
            if self._connection.close_reason is not None and kind != "websocket.close":
                raise ClientGone
            raise out_of_order(kind, *_EXPECTED[stage])
        elif stage == _DENIAL:
            if kind != "websocket.http.response.body":
                raise out_of_order(kind, *_EXPECTED[stage])
            self._deny_body(message)
        else:
            await self._answer(kind, message)

    async def _answer(self, kind: str, message: dict[str, Any]) -> None:
        """Answer the handshake."""
        if kind == "websocket.accept":
            await self._accept(message)
        elif kind == "websocket.close":
            self._respond(403, [], b"")
        elif kind == "websocket.http.response.start":
            self._denial = (status_of(message), text_pairs(message))
            self._stage = _DENIAL
        else:
            raise out_of_order(kind, *_EXPECTED[self._stage])

    async def _accept(self, message: dict[str, Any]) -> None:
        subprotocol = message.get("subprotocol")
        if subprotocol is not None and not isinstance(subprotocol, str):
            raise wrong_field(message, "subprotocol", "a str or None")
        if subprotocol and subprotocol not in self._subprotocols:
            raise ValueError(
                f"'subprotocol' of 'websocket.accept' must be one that the client offers"
                f" ({', '.join(self._subprotocols) or 'it offers none'}); got {subprotocol!r}"
            )
        headers = text_pairs(message)
        self._connection._answer(NativeResponse(("accept", subprotocol or "", headers)))
        self._stage = _OPEN
        self._status = 101
        await self._opened()

    async def _opened(self) -> None:
        """Wait until the connection takes messages, which is in the loop's next turn.

        Raises:
            ClientGone: it has ended before.
        """
        turns = 0
        while not self._is_open:
            if self._connection.close_reason is not None:
                self._stage = _GONE
                self._wake()
                raise ClientGone
            await asyncio.sleep(0 if turns < _TURNS else _TURN_SECONDS)
            turns += 1

    def _close(self, message: dict[str, Any]) -> None:
        code, reason = message.get("code", 1000), message.get("reason") or ""
        if not isinstance(code, int) or isinstance(code, bool):
            raise wrong_field(message, "code", "an int")
        if not isinstance(reason, str):
            raise wrong_field(message, "reason", "a str or None")
        self._connection.close(code, reason)
        self._stage = _CLOSED

    def _deny_body(self, message: dict[str, Any]) -> None:
        body = message.get("body", b"")
        if not isinstance(body, BYTES):
            raise wrong_field(message, "body", "bytes")
        self._body += body
        if not message.get("more_body", False):
            status, headers = self._denial
            self._respond(status, headers, bytes(self._body))

    def _respond(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self._stage = _CLOSED
        self._status = status
        self._wake()
        self._connection._answer(NativeResponse(("respond", status, headers, body)))

    def _disconnect(self) -> dict[str, Any]:
        reason = self._connection.close_reason
        code = _ABNORMAL
        if reason is not None and self._is_open:
            code = reason.code or (_NO_CODE if reason.kind == "closed" else _ABNORMAL)
        text = reason.text if reason is not None and reason.code else ""
        return {"type": "websocket.disconnect", "code": code, "reason": text}

    def _finish(self) -> None:
        """The application has returned."""
        if self._stage == _OPEN:
            self._connection.close(CloseCode.NORMAL)
        elif self._stage < _OPEN:
            self._fail(RuntimeError("the application returned before it answered the handshake"))

    def _fail(self, error: BaseException) -> None:
        """Log an exception; answer the handshake with 500, or close with 1011."""
        connection = self._connection
        has_ended = connection.close_reason is not None
        if has_ended and is_disconnect(error):
            return
        if self._stage == _OPEN and not has_ended:
            connection._fail(error)
            return
        connection._report(error)
        if self._stage < _OPEN:
            self._stage = _CLOSED
            self._status = 500
            connection._answer(_FAILED)

    def _leave(self) -> None:
        """The call was cancelled: nobody serves the connection any more."""
        connection = self._connection
        if connection.close_reason is not None:
            return
        if self._stage == _OPEN:
            connection.close(CloseCode.INTERNAL_ERROR)
        elif self._stage < _OPEN:
            self._stage = _CLOSED
            self._status = 500
            connection._answer(_FAILED)

    def _end(self) -> None:
        self._hosting.calls.discard(self)
        connection, request = self._connection, self._request
        if self._hosting.has_access_log and request is not None:
            log_access(
                request.peer, "WebSocket", request.target, request.minor_version, self._status
            )
        self.task = self._request = None
        if connection.data is self:
            connection.data = None
        if connection.close_reason is not None:
            connection._leave()


def _content(message: dict[str, Any]) -> Any:
    """What a message sends."""
    text: Any = message.get("text")
    data: Any = message.get("bytes")
    if (text is None) == (data is None):
        raise ValueError("'websocket.send' must have either 'text' or 'bytes', and not both")
    if data is None:
        if not isinstance(text, str):
            raise wrong_field(message, "text", "a str or None")
        return text
    if not isinstance(data, BYTES):
        raise wrong_field(message, "bytes", "bytes or None")
    return data


def begin_websocket(
    hosting: Hosting, make_scope: Callable[[Request], dict[str, Any]], task_name: str
) -> Callable[[Connection, Request], object]:
    """Return what the engine calls for each WebSocket handshake of an endpoint."""

    def begin(connection: Connection, request: Request) -> object:
        call = WebSocketCall(hosting, connection, request)
        connection.data = call
        task = hosting.starter.begin(call.run(make_scope(request)), task_name)
        if task is not None:
            call.task = task
            hosting.calls.add(call)
        return call

    return begin


def opened(connection: Connection) -> None:
    """A connection is ready for messages."""
    call = connection.data
    if call is not None:
        call.set_open()


def is_working(connection: Connection) -> bool:
    """Whether the application still serves a connection that has ended."""
    return connection.data is not None
