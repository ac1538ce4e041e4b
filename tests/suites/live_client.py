"""A pytest plugin: Starlette's TestClient sends to a live server of ours.

Starlette's and FastAPI's own tests call their applications by a client that makes the messages of
ASGI itself. Here the client has the same interface, but starts a server, and sends real requests:

* a request outside a `with` block has a server of its own, without a lifespan, as the original has
  an event loop of its own for each;
* `with client:` keeps one server, whose host runs the lifespan;
* https:// and wss:// URLs are sent through TLS.

The application is wrapped, so that its exception can be raised in the test, as the original does.
Everything else that a test sees has come from the network. LIVE_CLIENT_REPORT is the file of the
outcomes, LIVE_CLIENT is `live` or `stock`, and LIVE_CLIENT_PACKAGES a folder of packages.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import json
import os
import socket
import ssl
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(os.environ["LIVE_CLIENT_PACKAGES"])

import starlette.testclient
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

import vespiary
from vespiary._core import make_authority, make_certificate

if TYPE_CHECKING:
    import pytest

# Its names are private, and its httpx is one of two packages.
original: Any = starlette.testclient
httpx: Any = original.httpx
_SECONDS_MAX = 50.0
_PHASES = ("connect", "read", "write", "pool")
_OWN_FIELDS = {
    "connection",
    "host",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "upgrade",
    "user-agent",
}
"""Fields that the WebSocket client writes itself."""

_authority, _authority_key = make_authority()
_started_servers = 0


class Calls:
    """The application, with a note of each call's end and of its exception."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._changed = threading.Condition()
        self._running = 0
        self._failures: list[BaseException] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        with self._changed:
            self._running += scope["type"] != "lifespan"
        try:
            await self._app(scope, receive, send)
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                self._failures.append(error)
            raise
        finally:
            with self._changed:
                self._running -= scope["type"] != "lifespan"
                self._changed.notify_all()

    def wait(self) -> None:
        """Wait until no call is running."""
        with self._changed:
            self._changed.wait_for(lambda: self._running == 0, _SECONDS_MAX)

    def raise_failure(self) -> None:
        """Raise what the application has raised."""
        if self._failures:
            failure = self._failures.pop(0)
            self._failures.clear()
            raise failure


class LiveServer:
    """A server in a thread, with an endpoint for http:// and one for https://."""

    def __init__(self, app: Any, root_path: str, *, has_lifespan: bool) -> None:
        global _started_servers
        _started_servers += 1
        self.calls = Calls(app)
        self._root_path = root_path.rstrip("/")
        self.handler = vespiary.ASGI(
            self.calls, root_path=root_path, lifespan="on" if has_lifespan else "off"
        )
        self._is_ready = threading.Event()
        self._error: BaseException | None = None
        self._ports: dict[bool, int] = {}
        # As the original's: the application sees what the test has set.
        run = functools.partial(contextvars.copy_context().run, self._run)
        self._thread = threading.Thread(target=run, daemon=True)
        self._transport = httpx.HTTPTransport(verify=_context())
        self._stop: Callable[[], object] = lambda: None

    def __enter__(self) -> LiveServer:
        self._thread.start()
        self._is_ready.wait()
        if self._error is not None:
            self._thread.join()
            self.calls.raise_failure()
            raise self._error
        return self

    def __exit__(self, *exception: object) -> None:
        self._transport.close()
        self._stop()
        self._thread.join()
        if exception[0] is None:
            self.calls.raise_failure()

    def _run(self) -> None:
        vespiary.loop.run(self._serve(), driver=os.environ.get("LIVE_CLIENT_DRIVER"))

    async def _serve(self) -> None:
        stopping, loop = asyncio.Event(), asyncio.get_running_loop()
        self._stop = lambda: loop.call_soon_threadsafe(stopping.set)
        server = vespiary.Server()
        # The original has no limits.
        limits = vespiary.Limits(body_bytes_max=None, message_bytes_max=1 << 30)
        server.add(self.handler, "http://127.0.0.1:0", limits=limits)
        server.add(self.handler, "https://127.0.0.1:0", tls=_tls(), limits=limits)
        try:
            async with server:
                ports = [vespiary.Endpoint.parse(url).port for url in server.urls]
                self._ports = dict(zip((False, True), ports, strict=True))
                self._is_ready.set()
                await stopping.wait()
        except BaseException as error:
            self._error = error
        finally:
            self._is_ready.set()

    def ask(self, request: Any) -> Any:
        """Send a request; the response, whose body is not read."""
        is_secure = request.url.scheme == "https"
        # As the proxy does that our host puts the root path back for.
        path = request.url.raw_path.removeprefix(self._root_path.encode())
        url = request.url.copy_with(
            host="127.0.0.1", port=self._ports[is_secure], raw_path=path or b"/"
        )
        sent = httpx.Request(
            request.method,
            url,
            headers=request.headers.raw,
            stream=request.stream,
            extensions={**request.extensions, "timeout": dict.fromkeys(_PHASES, _SECONDS_MAX)},
        )
        return self._transport.handle_request(sent)

    def open(self, request: Any) -> ClientConnection:
        """Open a WebSocket."""
        is_secure = request.url.scheme == "wss"
        stream = socket.create_connection(("127.0.0.1", self._ports[is_secure]))
        offered = request.headers.get("sec-websocket-protocol")
        fields = request.headers.multi_items()
        return connect(
            str(request.url),
            sock=stream,
            ssl=_context() if is_secure else None,
            subprotocols=[one.strip() for one in offered.split(",")] if offered else None,
            additional_headers=[it for it in fields if it[0].lower() not in _OWN_FIELDS],
            user_agent_header=request.headers.get("user-agent"),
            compression=None,
            max_size=None,
            close_timeout=_SECONDS_MAX,
            proxy=None,
            legacy=True,  # Not as a context manager: the session closes it.
        )


@functools.cache
def _tls() -> vespiary.ServerTLS:
    certificate, key = make_certificate(_authority_key, ["testserver", "127.0.0.1"], 1)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(certificate + key)
        file.flush()
        return vespiary.ServerTLS(file.name)


@functools.cache
def _context() -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=_authority)
    context.check_hostname = False
    return context


class LiveTransport(httpx.BaseTransport):  # type: ignore[misc]
    """What takes the place of the transport of Starlette's client."""

    def __init__(
        self,
        app: Any,
        portal_factory: Any,
        raise_server_exceptions: bool = True,
        root_path: str = "",
        **options: Any,
    ) -> None:
        self.app = app
        self.raises = raise_server_exceptions
        self.root_path = root_path
        self.server: LiveServer | None = None

    @contextlib.contextmanager
    def serving(self) -> Iterator[LiveServer]:
        """The server of the `with` block, or one of its own."""
        if self.server is not None:
            yield self.server
            return
        server = LiveServer(self.app, self.root_path, has_lifespan=False)
        with server:
            yield server

    def handle_request(self, request: Any) -> Any:
        """Send a request."""
        if request.url.scheme in ("ws", "wss"):
            raise original._Upgrade(LiveSession(self, request))
        stack = contextlib.ExitStack()
        server = stack.enter_context(self.serving())
        try:
            response = server.ask(request)
        except BaseException:
            server.calls.wait()
            stack.pop_all().__exit__(BaseException, None, None)
            if self.raises:
                server.calls.raise_failure()
            raise
        stack.callback(self._finish, server, response)
        response.stream = _Stream(response.stream, stack)
        del response.headers["date"]
        return response

    def _finish(self, server: LiveServer, response: Any) -> None:
        server.calls.wait()
        if self.raises:
            server.calls.raise_failure()
        else:
            with contextlib.suppress(BaseException):
                server.calls.raise_failure()


class _Stream(httpx.SyncByteStream):  # type: ignore[misc]
    """The body of a response; at its end the server stops, and the exception is raised."""

    def __init__(self, stream: Any, stack: contextlib.ExitStack) -> None:
        self._stream = stream
        self._stack = stack

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        """Close the connection, and wait for the application."""
        self._stream.close()
        self._stack.close()


class LiveSession:
    """What takes the place of the WebSocket of Starlette's client."""

    def __init__(self, transport: LiveTransport, request: Any) -> None:
        self._transport = transport
        self._request = request
        self._stack = contextlib.ExitStack()
        self.accepted_subprotocol: str | None = None
        self.extra_headers: list[tuple[bytes, bytes]] = []

    def __enter__(self) -> LiveSession:
        with contextlib.ExitStack() as stack:
            self._server = stack.enter_context(self._transport.serving())
            stack.callback(self._end)
            try:
                self._connection = self._server.open(self._request)
            except InvalidStatus as error:
                raise _refusal(error.response) from None
            stack.callback(self.close)
            self.accepted_subprotocol = self._connection.subprotocol
            response = self._connection.response
            assert response is not None
            own = {"date", "upgrade", "connection", "sec-websocket-accept"}
            self.extra_headers = [
                (name.encode(), value.encode())
                for name, value in response.headers.raw_items()
                if name.lower() not in own | {"sec-websocket-protocol"}
            ]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> bool | None:
        return self._stack.__exit__(*exception)

    def _end(self) -> None:
        self._server.calls.wait()
        self._server.calls.raise_failure()

    def send(self, message: Any) -> None:
        """Send a message of ASGI."""
        if message["type"] == "websocket.disconnect":
            self.close(message.get("code", 1000), message.get("reason"))
        elif message.get("text") is not None:
            self._connection.send(message["text"])
        else:
            self._connection.send(message["bytes"])

    def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the WebSocket."""
        self._connection.close(code, reason or "")

    def receive(self) -> dict[str, Any]:
        """Return the next message, as one of ASGI."""
        try:
            message = self._connection.recv(timeout=_SECONDS_MAX)
        except ConnectionClosed as closed:
            frame = closed.rcvd
            code, reason = (frame.code, frame.reason) if frame else (1006, "")
            return {"type": "websocket.close", "code": code, "reason": reason}
        kind = "text" if isinstance(message, str) else "bytes"
        return {"type": "websocket.send", kind: message}

    send_text = original.WebSocketTestSession.send_text
    send_bytes = original.WebSocketTestSession.send_bytes
    send_json = original.WebSocketTestSession.send_json
    receive_text = original.WebSocketTestSession.receive_text
    receive_bytes = original.WebSocketTestSession.receive_bytes
    receive_json = original.WebSocketTestSession.receive_json
    _raise_on_close = original.WebSocketTestSession._raise_on_close


def _refusal(response: Any) -> Exception:
    """What the original raises for a refused WebSocket."""
    if response.status_code == 403 and not response.body:
        return WebSocketDisconnect(code=1000, reason="")
    fields = [it for it in response.headers.raw_items() if it[0].lower() != "date"]
    refusal: Exception = original.WebSocketDenialResponse(
        status_code=response.status_code, headers=fields, content=bytes(response.body or b"")
    )
    return refusal


def _enter(client: Any) -> Any:
    transport = client._transport
    server = LiveServer(transport.app, transport.root_path, has_lifespan=True)
    transport.server = server.__enter__()
    client.app_state.update(server.handler._hosting.state)
    return client


def _exit(client: Any, *exception: Any) -> None:
    transport = client._transport
    server, transport.server = transport.server, None
    server.__exit__(*(exception or (None, None, None)))


if os.environ["LIVE_CLIENT"] == "live":
    original._TestClientTransport = LiveTransport
    original.WebSocketTestSession = LiveSession
    original.TestClient.__enter__ = _enter
    original.TestClient.__exit__ = _exit


_before = 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what runs on trio or uvloop: the client has a loop of its own."""
    items[:] = [it for it in items if "trio" not in it.name and "uvloop" not in it.name]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember how many servers were started before a test."""
    global _before
    _before = _started_servers


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Write which file cannot be imported."""
    if report.outcome == "failed":
        _write(report)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write the outcome of a test."""
    if report.when == "call" or report.outcome != "passed":
        _write(report)


def _write(report: pytest.TestReport | pytest.CollectReport) -> None:
    with Path(os.environ["LIVE_CLIENT_REPORT"]).open("a", encoding="utf-8") as file:
        text = str(report.longrepr or "")[-3000:]
        line = [report.nodeid, report.outcome, text, _started_servers > _before]
        file.write(json.dumps(line) + "\n")
