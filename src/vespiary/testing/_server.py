"""Servers for tests: in the test's own loop, or in a thread of their own."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import ParamSpec, Self, TypeVar, Unpack

from vespiary._callbacks import check_callback
from vespiary.client import ClientOptions, Connecting, connect
from vespiary.endpoint import Endpoint
from vespiary.handler import AnyHandler
from vespiary.loop import Loop, run
from vespiary.routing import PathPattern
from vespiary.server import Server
from vespiary.server_options import ServerOptions
from vespiary.statistics import ServerStatistics

__all__ = ["ServerThread", "TestServer", "address_of", "serve", "serve_in_thread"]

P = ParamSpec("P")
T = TypeVar("T")

STOP_SECONDS = 30.0


class TestServer:
    """A server that runs for a test.

    Attributes:
        server: The `vespiary.Server`; None where it runs in another process.
        urls: The URLs of its endpoints, with their real ports.
    """

    __test__ = False  # It is not a test, whatever pytest thinks of its name.

    def __init__(self, server: Server, urls: list[str]) -> None:
        self.server = server
        self.urls = urls

    @property
    def url(self) -> str:
        """The URL of the only endpoint, or of the first."""
        return self.urls[0]

    def url_of(self, path: str = "", scheme: str | None = None) -> str:
        """The server's URL with a path, and perhaps another scheme: `http` for a `ws` server."""
        return address_of(self.url, path, scheme)

    def connect(self, path: str = "", **options: Unpack[ClientOptions]) -> Connecting:
        """Connect to it, as `vespiary.connect` does; to a path of it.

        The framing of a stream is the endpoint's by default.
        """
        take_framing(self.server, self.url, options)
        return connect(self.url_of(path), **options)


@contextlib.asynccontextmanager
async def serve(
    handler: AnyHandler | Server, url: str = "ws", **options: Unpack[ServerOptions]
) -> AsyncIterator[TestServer]:
    """Serve in the test's own loop until the block's end.

    ::

        async with vespiary.testing.serve(Echo()) as server, server.connect() as client:
            client.send("hello")
            assert await client.receive() == "hello"

    Args:
        handler: As for `Server.add`; or a `Server` that has its endpoints already.
        url: As for `Server.add`; `ws`, `tcp`, `http` or `unix` alone is a free address of that
            scheme on this machine.
        options: Those of `Server.add`.
    """
    with contextlib.ExitStack() as stack:
        server = _server(handler, url, options, stack)
        await server.start()
        try:
            yield TestServer(server, server.urls)
        finally:
            await server.stop()


class ServerThread(TestServer):
    """A server in a separate thread and loop. Made by `serve_in_thread`; a context manager."""

    def __init__(self, server: Server, stack: contextlib.ExitStack) -> None:
        super().__init__(server, [])
        self._stack = stack
        self._loop: Loop | None = None
        self._error: BaseException | None = None
        self._stopped: asyncio.Event | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vespiary test server", daemon=True)

    def start(self) -> None:
        """Start, and wait until every endpoint listens.

        Raises:
            Exception: what kept the server from starting.
        """
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            self._thread.join()
            self._stack.close()
            raise self._error

    def stop(self) -> None:
        """Stop, and wait until the last connection has ended.

        Raises:
            Exception: what the server's loop ended with.
        """
        if self._loop is not None and self._stopped is not None:
            with contextlib.suppress(RuntimeError):  # It has ended by itself.
                self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(STOP_SECONDS)
        self._stack.close()
        if self._thread.is_alive():
            raise TimeoutError(
                f"the server did not stop within {STOP_SECONDS:g} seconds: a handler, or a task"
                f" that it started, did not end"
            )
        error, self._error = self._error, None
        if error is not None:
            raise error

    def statistics(self) -> ServerStatistics:
        """The server's statistics now."""
        return self.call(self.server.statistics)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in the server's thread; its result.

        Raises:
            TypeError: it is not a function, or an async one.
        """
        check_callback("call", function)
        assert self._loop is not None

        async def here() -> T:
            return function(*args, **kwargs)

        return asyncio.run_coroutine_threadsafe(here(), self._loop).result(STOP_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            run(self._main())
        except BaseException as error:
            self._error = error
        finally:
            self._started.set()

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        self._loop, self._stopped = loop, asyncio.Event()
        await self.server.start()
        self.urls = self.server.urls
        self._started.set()
        try:
            await self._stopped.wait()
        finally:
            await self.server.stop()


def serve_in_thread(
    handler: AnyHandler | Server, url: str = "ws", **options: Unpack[ServerOptions]
) -> ServerThread:
    """Serve in a separate thread, for plain tests and for other libraries' clients.

    ::

        with vespiary.testing.serve_in_thread(Echo()) as server:
            with websockets.sync.client.connect(server.url) as client:
                ...

    Args:
        handler: As for `serve`.
        url: As for `serve`.
        options: Those of `Server.add`.

    Raises:
        Exception: what kept the server from starting.
    """
    stack = contextlib.ExitStack()
    try:
        thread = ServerThread(_server(handler, url, options, stack), stack)
        thread.start()
    except BaseException:
        stack.close()
        raise
    return thread


def take_framing(server: Server | None, url: str, options: ClientOptions) -> None:
    """Give a client the framing of the endpoint that it connects to, unless it has its own."""
    if server is None or "framing" in options:
        return
    for site in server._sites:
        if site.url == url and not site.endpoint.has_http:
            options["framing"] = site.options.get("framing")


def address_of(url: str, path: str, scheme: str | None = None) -> str:
    """A server's URL with a path, and perhaps another scheme.

    Raises:
        ValueError: the URL has no paths, or it has parameters and no path was passed.
    """
    endpoint = Endpoint.parse(url)
    if not path and endpoint.has_http:
        pattern = PathPattern.parse(endpoint.target.partition("?")[0], url)
        if pattern.has_parameters:
            raise ValueError(f"{url} has path parameters: pass a path, such as {pattern.example!r}")
    if not path and scheme is None:
        return url
    if not endpoint.has_http:
        raise ValueError(f"{url} has no paths: remove the path; got {path!r}")
    return f"{scheme or endpoint.scheme}://{endpoint.authority}{path or '/'}"


def _server(
    handler: AnyHandler | Server,
    url: str,
    options: ServerOptions,
    stack: contextlib.ExitStack,
) -> Server:
    if isinstance(handler, Server):
        if options:
            raise TypeError(
                "a Server already has its options: pass them to Server.add; got"
                f" {', '.join(options)}"
            )
        return handler
    server = Server()
    server.add(handler, _free(url, stack), **options)
    return server


def _free(url: str, stack: contextlib.ExitStack) -> str:
    """A URL of this machine for a scheme alone."""
    if url == "unix":
        folder = stack.enter_context(contextlib.closing(_Folder()))
        return f"unix://{folder.path}/socket"
    return url if "://" in url else f"{url}://127.0.0.1:0"


class _Folder:
    """A folder for a socket, with a path that is short enough for one."""

    def __init__(self) -> None:
        self._made = tempfile.TemporaryDirectory(prefix="vespiary-")
        self.path = Path(self._made.name)

    def close(self) -> None:
        self._made.cleanup()
