"""ASGI and WSGI applications, with a span for each request and each WebSocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from vespiary.opentelemetry._spans import Facts, RequestSpan, Telemetry, first_values

__all__ = ["traced_asgi", "traced_wsgi"]

_WEBSOCKET_CLOSES = ("websocket.close", "websocket.disconnect")


def traced_asgi(app: Any, telemetry: Telemetry) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """Return an ASGI application with spans."""

    async def traced(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        query = scope["query_string"].decode("ascii")
        is_websocket = scope["type"] == "websocket"
        facts = Facts(
            method="GET" if is_websocket else scope["method"],
            target=scope["path"] + (f"?{query}" if query else ""),
            scheme=scope["scheme"],
            headers=first_values(scope["headers"]),
            version=scope["http_version"],
            peer=scope["client"],
        )
        request = RequestSpan(telemetry, facts, "WebSocket" if is_websocket else None)
        messages = _WebSocket(request, receive, send) if is_websocket else _Http(request, send)
        request.enter()
        try:
            await app(scope, getattr(messages, "receive", receive), messages.send)
        except BaseException as error:
            request.set_failure(error)
            raise
        finally:
            request.leave()
            route = getattr(scope.get("route"), "path", None)
            request.end(route if isinstance(route, str) else None, is_measured=not is_websocket)

    return traced


class _Http:
    """Sees the status of a response."""

    __slots__ = ("_request", "_send")

    def __init__(self, request: RequestSpan, send: Any) -> None:
        self._request = request
        self._send = send

    async def send(self, message: Any) -> None:
        """Send a message."""
        await self._send(message)
        if message["type"] == "http.response.start":
            self._request.set_status(message["status"])


class _WebSocket:
    """Sees the answer to a handshake, and the close code."""

    __slots__ = ("_receive", "_request", "_send")

    def __init__(self, request: RequestSpan, receive: Any, send: Any) -> None:
        self._request = request
        self._receive = receive
        self._send = send

    async def receive(self) -> Any:
        """Receive a message."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._request.span.set_attribute("vespiary.close_code", message["code"])
        return message

    async def send(self, message: Any) -> None:
        """Send a message."""
        await self._send(message)
        kind = message["type"]
        if kind == "websocket.accept":
            self._request.set_status(101)
        elif kind == "websocket.http.response.start":
            self._request.set_status(message["status"])
        elif kind == "websocket.close":
            self._request.span.set_attribute("vespiary.close_code", message.get("code", 1000))


def traced_wsgi(app: Any, telemetry: Telemetry) -> Callable[[Any, Any], Iterable[bytes]]:
    """Return a WSGI application with spans."""

    def traced(environ: Any, start_response: Any) -> Iterable[bytes]:
        request = RequestSpan(telemetry, _facts_of(environ))

        def start(status: str, headers: Any, *more: Any) -> Any:
            written = start_response(status, headers, *more)
            request.set_status(int(status[:3]))
            return written

        with request.current():
            body = app(environ, start)
        return _Body(request, body)

    return traced


def _facts_of(environ: Any) -> Facts:
    headers = {
        key[5:].replace("_", "-").lower(): value
        for key, value in environ.items()
        if key.startswith("HTTP_")
    }
    query = environ.get("QUERY_STRING")
    path = environ.get("SCRIPT_NAME", "") + environ["PATH_INFO"]
    address, port = environ.get("REMOTE_ADDR"), environ.get("REMOTE_PORT", "")
    return Facts(
        method=environ["REQUEST_METHOD"],
        target=path + (f"?{query}" if query else ""),
        scheme=environ["wsgi.url_scheme"],
        headers=headers,
        version=environ["SERVER_PROTOCOL"].rpartition("/")[2],
        peer=(address, int(port)) if address and str(port).isdecimal() else None,
    )


class _Body:
    """The body of a WSGI response. Its span is the current one while the application makes it."""

    def __init__(self, request: RequestSpan, body: Iterable[bytes]) -> None:
        self._request = request
        self._body = body
        self._pieces: Iterator[bytes] | None = None

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        self._request.enter()
        try:
            if self._pieces is None:
                self._pieces = iter(self._body)
            return next(self._pieces)
        except StopIteration:
            raise
        except BaseException as error:
            self._request.set_failure(error)
            raise
        finally:
            self._request.leave()

    def close(self) -> None:
        """The server has the whole body, or needs no more of it."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._request.end()
