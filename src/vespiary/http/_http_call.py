"""What is rare in a call of an ASGI application for one HTTP request.

The call itself is native (`_core.HttpCall`): the scope, `receive` and `send`, and the coroutine's
first step. It asks here when the application has to wait, has failed, or sends something else than
a head and pieces of a body.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from vespiary._core import Application
from vespiary.http._access import log_access
from vespiary.http._files import send_part
from vespiary.http._hosting import is_cancelled
from vespiary.http._messages import (
    ClientGone,
    header_fault,
    is_disconnect,
    out_of_order,
    wrong_field,
)

if TYPE_CHECKING:
    from vespiary._core import HttpCall
    from vespiary.http._hosting import Hosting
    from vespiary.http._scope import Scopes

__all__ = ["make_application"]

_START, _FIRST_BODY, _BODY, _TRAILERS, _DONE = range(5)
"""What is expected next: `http.response.start`, its first body, further ones, trailers, nothing."""

_EXPECTED = {
    _START: (("http.response.start",), "the response has not begun"),
    _FIRST_BODY: (("http.response.body",), "the response has begun"),
    _BODY: (("http.response.body",), "the body is not complete"),
    _TRAILERS: (("http.response.trailers",), "the body is complete"),
    _DONE: ((), "the response is complete"),
}
_FAILED_HEADERS = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
_FAILED_BODY = b"Internal Server Error\n"


async def awaited(awaitable: Awaitable[object]) -> None:
    """Wait for what an application has returned that is not a coroutine."""
    await awaitable


async def receive_later(call: HttpCall) -> dict[str, Any]:
    """Wait for the next message to the application."""
    while (message := call.poll()) is None:
        await _change(call)
    return message


async def wait_for_room(call: HttpCall) -> None:
    """Wait until the client has read enough.

    Raises:
        ClientGone: it has disconnected.
    """
    exchange = call.exchange
    while not exchange.is_writable and not exchange.is_disconnected:
        await _change(call)
    if exchange.is_disconnected:
        raise ClientGone


async def _change(call: HttpCall) -> None:
    """Wait until something may have changed."""
    waiter = call.watch()
    try:
        await waiter
    finally:
        call.forget(waiter)


def unexpected(call: HttpCall, kind: str) -> RuntimeError:
    """Return the error for a message that cannot be sent now."""
    return out_of_order(kind, *_EXPECTED[call.stage])


def listed(message: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    """Return the header fields of a message as a list.

    Raises:
        TypeError: they are not iterable.
    """
    try:
        return list(message["headers"])
    except TypeError:
        raise header_fault(message, message["headers"]) from None


def hint(call: HttpCall, message: dict[str, Any]) -> None:
    """Send a response of status 103."""
    links = message.get("links", ())
    try:
        call.exchange.inform(103, [(b"link", bytes(link)) for link in links])
    except TypeError:
        raise wrong_field(message, "links", "a list of bytes") from None


def send_trailers(call: HttpCall, message: dict[str, Any]) -> None:
    """Complete the response."""
    trailers = message.get("headers", ())
    if message.get("more_trailers", False):
        raise ValueError("'more_trailers' must be False: send all trailers in one message")
    try:
        call.exchange.end(trailers)
    except (TypeError, IndexError):
        raise header_fault(message, trailers) from None
    call.finish()


async def send_file(call: HttpCall, message: dict[str, Any]) -> None:
    """Send a file as the whole body."""
    path = message.get("path")
    if not isinstance(path, str):
        raise wrong_field(message, "path", "a str")
    exchange = call.exchange
    with await asyncio.to_thread(open, path, "rb", 0) as file:
        size = os.fstat(file.fileno()).st_size
        if call.start():
            await send_part(exchange, file.fileno(), 0, size, lambda: wait_for_room(call))
    exchange.end()
    call.finish()


def left_unfinished(call: HttpCall) -> None:
    """Answer in the place of an application that has returned before its response was complete."""
    if call.has_told:
        return _break_off(call)
    if call.stage == _START:
        return _fail(call, RuntimeError("the application returned without a response"))
    expected = _EXPECTED[call.stage][0][0]
    text = f"the application returned before its response was complete: {expected!r} was not sent"
    return _fail(call, RuntimeError(text))


def failed(call: HttpCall, error: BaseException) -> bool:
    """Answer in the place of an application that has raised; whether its task does as well."""
    if not is_cancelled(error):
        _fail(call, error)
        return False
    # A coroutine that is closed has no loop any more.
    if isinstance(error, asyncio.CancelledError) and _is_awaited(call):
        _break_off(call)
    return True


def _is_awaited(call: HttpCall) -> bool:
    return call.stage != _DONE and not call.exchange.is_disconnected


def _break_off(call: HttpCall) -> None:
    """The application leaves the request without a whole response."""
    exchange = call.exchange
    if exchange.is_started:
        exchange.abort()
    else:
        call.status = 500
        exchange.respond(500, _FAILED_HEADERS, _FAILED_BODY)
    call.finish()


def _fail(call: HttpCall, error: BaseException) -> None:
    """Log an exception, and answer 500; where the response has begun, end the connection."""
    exchange = call.exchange
    is_ours = (exchange.is_disconnected or call.has_told) and is_disconnect(error)
    if not is_ours:
        exchange.connection._report(error)
    if _is_awaited(call):
        _break_off(call)


def log(call: HttpCall) -> None:
    """Write a line of the access log."""
    exchange = call.exchange
    log_access(
        exchange.connection.peer,
        exchange.method,
        exchange.target,
        exchange.minor_version,
        call.status if call.stage != _START else 0,
    )


def make_application(hosting: Hosting, scopes: Scopes, task_name: str) -> Application:
    """Return what the engine calls for each request of an endpoint."""
    return Application(
        hosting.app,
        hosting.calls,
        hosting.starter,
        task_name,
        scope=scopes.http,
        extensions=scopes.http_extensions,
        state=hosting.state,
        removed_path=scopes.removed_path,
        server=scopes.server,
        is_behind_proxy=scopes.is_behind_proxy,
        has_access_log=hosting.has_access_log,
    )
