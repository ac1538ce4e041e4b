"""The methods of a `Handler`, with spans."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry import context, trace

from vespiary._hooks import defined
from vespiary.opentelemetry._spans import Facts, RequestSpan, Telemetry, fail

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from vespiary._core import Connection
    from vespiary.handler import Handler
    from vespiary.request import Request

__all__ = ["connection_span", "end_connection", "trace_methods"]

_WITHIN = ("on_message", "on_part", "on_drain", "on_end", "on_shutdown")
"""Methods that are called between `on_open` and `on_close`."""


def trace_methods(handler: Handler, telemetry: Telemetry) -> None:
    """Make spans in the methods of a handler."""
    spans: dict[Connection[Any], Span] = {}
    answer = defined(handler, "on_request")
    if answer is not None:
        handler.on_request = _traced_request(answer, telemetry)  # type: ignore[method-assign]
    for name in _WITHIN:
        method = defined(handler, name)
        if method is not None:
            setattr(handler, name, _within(method, spans.get))
    if any(defined(handler, name) is not None for name in ("on_open", "on_close", *_WITHIN)):
        # The span of a connection has the attributes of its request.
        setattr(handler, "keep_request", True)  # noqa: B010
        opened, closed = defined(handler, "on_open"), defined(handler, "on_close")
        setattr(handler, "on_open", _traced_open(opened, telemetry, spans))  # noqa: B010
        setattr(handler, "on_close", _traced_close(closed, spans))  # noqa: B010


def connection_span(telemetry: Telemetry, connection: Connection[Any]) -> Span:
    """Begin the span of a connection."""
    try:
        request = connection.request
    except RuntimeError:
        request = None
    if request is not None:
        return RequestSpan(telemetry, _facts(request), "WebSocket").span
    peer = connection.peer
    attributes: dict[str, Any] = {"network.transport": "tcp" if isinstance(peer, tuple) else "unix"}
    if isinstance(peer, tuple):
        attributes |= {"client.address": peer[0], "client.port": peer[1]}
    return telemetry.begin_connection("connection", attributes)


def end_connection(span: Span, connection: Connection[Any], reason: Any) -> None:
    """End the span of a connection."""
    statistics = connection.statistics()
    span.set_attribute("vespiary.messages_received", statistics.messages_received)
    span.set_attribute("vespiary.messages_sent", statistics.messages_sent)
    if reason is not None:
        span.set_attribute("vespiary.close_side", reason.side)
        span.set_attribute("vespiary.close_kind", reason.kind)
        span.set_attribute("vespiary.close_text", reason.text)
        if reason.code is not None:
            span.set_attribute("vespiary.close_code", int(reason.code))
    span.end()


def _facts(request: Request) -> Facts:
    connection = request.connection
    is_websocket = "websocket" in (request.headers.get("upgrade") or "").lower()
    is_secure = connection.tls is not None
    scheme = ("wss" if is_secure else "ws") if is_websocket else "https" if is_secure else "http"
    headers: dict[str, str] = {}
    for name, value in request.headers.lines:
        headers.setdefault(name.lower(), value)
    return Facts(request.method, request.target, scheme, headers, peer=connection.peer)


def _traced_request(method: Callable[..., Any], telemetry: Telemetry) -> Callable[..., Any]:
    def finish(request: RequestSpan, asked: Request, response: Any) -> None:
        is_upgrade = response is None
        request.set_status(101 if is_upgrade else getattr(response, "status", 200))
        route = getattr(asked, "pattern", None)
        request.end(str(route) if route else None)

    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def wait(asked: Request) -> Any:
            request = RequestSpan(telemetry, _facts(asked))
            with request.current():
                response = await method(asked)
            finish(request, asked, response)
            return response

        return wait

    @functools.wraps(method)
    def call(asked: Request) -> Any:
        request = RequestSpan(telemetry, _facts(asked))
        with request.current():
            response = method(asked)
        finish(request, asked, response)
        return response

    return call


def _traced_open(
    method: Callable[..., Any] | None,
    telemetry: Telemetry,
    spans: dict[Connection[Any], Span],
) -> Callable[..., Any]:
    if method is None:

        def begin(connection: Connection[Any]) -> None:
            spans[connection] = connection_span(telemetry, connection)

        return begin
    inner = _within(method, spans.get)
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def wait(connection: Connection[Any]) -> None:
            spans[connection] = connection_span(telemetry, connection)
            await inner(connection)

        return wait

    @functools.wraps(method)
    def call(connection: Connection[Any]) -> Any:
        spans[connection] = connection_span(telemetry, connection)
        return inner(connection)

    return call


def _traced_close(
    method: Callable[..., Any] | None, spans: dict[Connection[Any], Span]
) -> Callable[..., Any]:
    def end(connection: Connection[Any], reason: Any) -> None:
        span = spans.pop(connection, None)
        if span is not None:
            end_connection(span, connection, reason)

    if method is None:
        return end
    inner = _within(method, spans.get)
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def wait(connection: Connection[Any], reason: Any) -> None:
            try:
                await inner(connection, reason)
            finally:
                end(connection, reason)

        return wait

    @functools.wraps(method)
    def call(connection: Connection[Any], reason: Any) -> Any:
        try:
            return inner(connection, reason)
        finally:
            end(connection, reason)

    return call


def _within(
    method: Callable[..., Any], find: Callable[[Connection[Any]], Span | None]
) -> Callable[..., Any]:
    """A method during which the connection's span is the current one."""
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def wait(connection: Connection[Any], *arguments: Any) -> Any:
            span = find(connection)
            if span is None:
                return await method(connection, *arguments)
            token = context.attach(trace.set_span_in_context(span))
            try:
                return await method(connection, *arguments)
            except BaseException as error:
                fail(span, error)
                raise
            finally:
                context.detach(token)

        return wait

    @functools.wraps(method)
    def call(connection: Connection[Any], *arguments: Any) -> Any:
        span = find(connection)
        if span is None:
            return method(connection, *arguments)
        token = context.attach(trace.set_span_in_context(span))
        try:
            return method(connection, *arguments)
        except BaseException as error:
            fail(span, error)
            raise
        finally:
            context.detach(token)

    return call
