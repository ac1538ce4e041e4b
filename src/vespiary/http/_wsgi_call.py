"""A call of a WSGI application for one request, on a thread (PEP 3333).

The loop's thread receives the whole body before the call, so that a slow client holds no thread.
The application's thread hands the response over to the loop's thread: as a whole where it is there
as a whole, else piece by piece, where each piece waits until there is room for the next.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

from vespiary._fork import call
from vespiary._simulated import post
from vespiary.errors import ConnectionClosed
from vespiary.http._access import log_access
from vespiary.http._environ import FileWrapper
from vespiary.http._files import send_part
from vespiary.http._messages import ClientGone

if TYPE_CHECKING:
    from vespiary._core import Exchange
    from vespiary._pool import Pool
    from vespiary.http._environ import Environs

__all__ = ["WSGIApplication", "WSGICall", "WSGIHosting"]

WSGIApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
"""A WSGI application: a callable that takes `environ` and `start_response`."""

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_FAILED_HEADERS = [("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close")]
_FAILED_BODY = b"Internal Server Error\n"


@dataclass(slots=True, eq=False)
class WSGIHosting:
    """A WSGI application that is served.

    Attributes:
        app: The application.
        has_access_log: Whether each request is logged.
        pool: The threads that call it, while the server runs.
        calls: The calls that have not ended.
    """

    app: WSGIApplication
    has_access_log: bool = False
    pool: Pool | None = None
    calls: set[WSGICall] = field(default_factory=set)


class WSGICall:
    """One request that the application answers."""

    def __init__(self, hosting: WSGIHosting, environs: Environs, exchange: Exchange) -> None:
        self._hosting = hosting
        self._environs = environs
        self._exchange = exchange
        self._connection = exchange.connection
        self._body = io.BytesIO()
        self._context = contextvars.copy_context()
        # The application's thread has these.
        self._head: tuple[int, list[tuple[str, str]]] | None = None
        self._is_sent = False
        # The loop's thread has these.
        self._room: Future[None] | None = None
        self._status = 0

    # On the loop's thread.

    def begin(self) -> None:
        """Receive the body, and call the application behind it."""
        self._hosting.calls.add(self)
        if not self._exchange.has_body:
            return self._submit()
        self._exchange.set_waker(self._receive)
        return self._receive()

    def _receive(self) -> None:
        try:
            while piece := self._exchange.receive():
                self._body.write(piece)
        except (ConnectionClosed, RuntimeError):
            return self._end()
        if piece is not None:
            self._body.seek(0)
            self._submit()
        return None

    def _submit(self) -> None:
        self._exchange.set_waker(self._wake)
        environ = self._environs.make(self._exchange, self._body)
        assert self._hosting.pool is not None
        post(self._hosting.pool, self._context.run, self._work, environ)

    def _wake(self) -> None:
        """There may be room for the next piece, or the client may have disconnected."""
        exchange = self._exchange
        if self._room is None or not (exchange.is_writable or exchange.is_disconnected):
            return
        room, self._room = self._room, None
        if exchange.is_disconnected:
            room.set_exception(ClientGone())
        else:
            room.set_result(None)

    def _respond(self, head: tuple[int, list[tuple[str, str]]], body: bytes) -> None:
        self._status, headers = head
        try:
            self._exchange.respond(self._status, headers, body)
        except Exception as error:
            self._fail(error)
        else:
            self._end()

    def _write(
        self, head: tuple[int, list[tuple[str, str]]] | None, data: bytes, room: Future[None]
    ) -> None:
        """Send a piece; `room` is done when there is room for another."""
        exchange = self._exchange
        if exchange.is_disconnected:
            return room.set_exception(ClientGone())
        try:
            if head is not None:
                self._status, headers = head
                exchange.start(self._status, headers)
            has_room = not data or exchange.write(data)
        except Exception as error:
            return room.set_exception(error)
        if has_room:
            return room.set_result(None)
        self._room = room
        return self._wake()

    def _write_file(
        self,
        head: tuple[int, list[tuple[str, str]]] | None,
        part: tuple[int, int, int],
        sent: Future[None],
    ) -> None:
        """Send a file; `sent` is done when all of it is on its way."""
        task = asyncio.ensure_future(self._send_part(head, part))

        def done(task: asyncio.Future[None]) -> None:
            error = task.exception() if not task.cancelled() else ClientGone()
            if error is not None:
                sent.set_exception(error)
            else:
                sent.set_result(None)

        task.add_done_callback(done)

    async def _send_part(
        self, head: tuple[int, list[tuple[str, str]]] | None, part: tuple[int, int, int]
    ) -> None:
        exchange = self._exchange
        if exchange.is_disconnected:
            raise ClientGone
        if head is not None:
            self._status, headers = head
            if not exchange.start(self._status, headers):
                return
        await send_part(exchange, *part, self._wait_for_room)

    async def _wait_for_room(self) -> None:
        while not self._exchange.is_writable:
            await self._exchange.changed()

    def _finish(self) -> None:
        try:
            if not self._exchange.is_over:
                self._exchange.end()
        except Exception as error:
            self._fail(error)
        else:
            self._end()

    def _fail(self, error: BaseException) -> None:
        """Log an exception, and answer 500; where the response has begun, end the connection."""
        exchange = self._exchange
        if not (isinstance(error, ClientGone) and exchange.is_disconnected):
            self._connection._report(error)
            if not exchange.is_over and not exchange.is_disconnected:
                if exchange.is_started:
                    exchange.abort()
                else:
                    self._status = 500
                    exchange.respond(500, _FAILED_HEADERS, _FAILED_BODY)
        self._end()

    def _end(self) -> None:
        if self not in self._hosting.calls:
            # Only its iterable's close() has failed, after the response.
            return
        self._hosting.calls.discard(self)
        exchange = self._exchange
        if self._hosting.has_access_log:
            log_access(
                self._connection.peer,
                exchange.method,
                exchange.target,
                exchange.minor_version,
                self._status,
            )

    # On the application's thread.

    def _work(self, environ: dict[str, Any]) -> None:
        try:
            call(self._run, environ)
        except BaseException as error:
            self._call_loop(self._fail, error)

    def _run(self, environ: dict[str, Any]) -> None:
        result = call(self._hosting.app, environ, self._start_response)
        try:
            self._send(result)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def _call_loop(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            self._connection._call_soon(function, *arguments)
        except (ConnectionClosed, RuntimeError):
            # The loop has ended, and the connection with it.
            return

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """Set the head of the response; it is sent with the first piece of the body."""
        if exc_info is not None:
            try:
                if self._is_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # A circle through the traceback.
        elif self._head is not None:
            raise RuntimeError(
                "start_response was called before: a second call needs exc_info (PEP 3333)"
            )
        number, lines = _status_number(status), _checked(headers)
        if number == 204:
            # Frameworks add "0", and a server must not send it (RFC 9110 section 8.6).
            lines = [line for line in lines if line[0].lower() != "content-length"]
        self._head = (number, lines)
        return self._write_piece

    def _write_piece(self, data: bytes) -> None:
        """Send a piece, and wait until there is room for the next.

        Raises:
            OSError: the client has disconnected.
            RuntimeError: start_response was not called.
            TypeError: it is not bytes.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"a WSGI application sends bytes; got {data!r:.200}")
        head = None if self._is_sent else self._checked_head()
        self._is_sent = True
        room: Future[None] = Future()
        self._connection._call_soon(self._write, head, data, room)
        room.result()

    def _checked_head(self) -> tuple[int, list[tuple[str, str]]]:
        if self._head is None:
            raise RuntimeError("the application did not call start_response before its body")
        return self._head

    def _send(self, result: Iterable[bytes]) -> None:
        """Send what the application has returned."""
        if isinstance(result, list | tuple) and not self._is_sent:
            return self._send_whole(b"".join(result))
        part = result.part() if isinstance(result, FileWrapper) else None
        if part is not None:
            return self._send_file(part)
        for piece in result:
            if not piece:
                continue
            if not self._is_sent and _length(self._checked_head()[1]) == len(piece):
                return self._send_whole(piece)
            self._write_piece(piece)
        if self._is_sent:
            return self._call_loop(self._finish)
        return self._send_whole(b"")

    def _send_file(self, part: tuple[int, int, int]) -> None:
        descriptor, offset, length = part
        head = None if self._is_sent else self._checked_head()
        if head is not None:
            # What is longer than the length that was declared is not sent (PEP 3333).
            declared = _length(head[1])
            length = length if declared is None else min(length, declared)
        self._is_sent = True
        sent: Future[None] = Future()
        part = (descriptor, offset, length)
        self._connection._call_soon(self._write_file, head, part, sent)
        sent.result()
        self._call_loop(self._finish)

    def _send_whole(self, body: bytes) -> None:
        head = self._checked_head()
        self._is_sent = True
        self._call_loop(self._respond, head, body)


def _status_number(status: object) -> int:
    if isinstance(status, str) and status[:3].isdecimal() and status[3:4] in ("", " "):
        return int(status[:3])
    raise ValueError(
        f"the status of a WSGI response is a str such as '200 OK'; got {status!r:.200}"
    )


def _checked(headers: object) -> list[tuple[str, str]]:
    if isinstance(headers, list):
        for pair in headers:
            is_pair = isinstance(pair, tuple) and len(pair) == 2
            if not is_pair or not all(isinstance(part, str) for part in pair):
                break
        else:
            return list(headers)
    raise TypeError(
        f"the headers of a WSGI response are a list of pairs of str; got {headers!r:.200}"
    )


def _length(headers: list[tuple[str, str]]) -> int | None:
    """The length of the body, where the application says it."""
    for name, value in headers:
        if name.lower() == "content-length" and value.isdecimal():
            return int(value)
    return None
