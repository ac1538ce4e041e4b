"""A server: one port, many endpoints, one life from start to drain."""

from __future__ import annotations

import asyncio
import errno as errnos
import logging
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from vespiary._hooks import as_handler, handler_hooks
from vespiary._options import native_options
from vespiary._suggestions import check_names
from vespiary._threads import ThreadedHooks
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError
from vespiary.filters import add_filters
from vespiary.handler import AnyHandler, AsyncHandler, Handler
from vespiary.limits import Deadlines, Limits
from vespiary.loop import Loop, run, running_core
from vespiary.server_options import ServerOptions
from vespiary.statistics import EndpointStatistics, PortStatistics, ServerStatistics
from vespiary.trace import requires

if TYPE_CHECKING:
    from vespiary._core import Connection, Hooks, Listener, Timer

__all__ = ["Server", "ServerOptions", "serve"]

logger = logging.getLogger("vespiary")

_GOING_AWAY = 1001
_POLL_SECONDS = 0.01


@dataclass(slots=True)
class _Site:
    """An endpoint of a server: what was asked for, and the listener once there is one."""

    handler: Handler | AsyncHandler
    endpoint: Endpoint
    options: dict[str, object]
    hooks: Hooks
    deadlines: Deadlines
    backlog: int
    reuse_port: bool
    threads: ThreadedHooks | None = None
    listener: Listener | None = None
    ended: EndpointStatistics | None = None


@dataclass(slots=True)
class _Life:
    """What a running server knows of its run."""

    started: float = 0.0
    stopping: bool = False
    force: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    stopper: asyncio.Task[None] | None = None


class Server:
    """A server with many endpoints. Runs in a loop of Vespiary's (see `vespiary.run`).

    ::

        async def main():
            server = vespiary.Server()
            server.add(Echo(), "ws://127.0.0.1:9001")
            server.add(lines, "tcp://127.0.0.1:5050", framing="line")
            async with server:
                await server.wait_stopped()

        vespiary.run(main())

    Resource handling: `stop` (which leaving the `async with` awaits) closes every listener and
    connection; nothing of the server outlives it.
    """

    def __init__(self) -> None:
        self._sites: list[_Site] = []
        self._life: _Life | None = None

    def add(
        self,
        handler: AnyHandler,
        url: str,
        **options: Unpack[ServerOptions],
    ) -> Endpoint:
        """Add an endpoint, before the start or while the server runs.

        Args:
            handler: A `Handler`, a subclass of it, or an async function that takes a connection.
            url: `tcp://`, `unix:///path`, `ws://` or `http://`; port 0 lets the kernel choose.
            options: See `vespiary.ServerOptions`.

        Raises:
            ConfigurationError: the handler, the URL or an option is not valid.
            OSError: a running server cannot listen there.
        """
        check_names(options, ServerOptions.__annotations__, "an endpoint of a server")
        framing = options.get("framing")
        slow_consumer = options.get("slow_consumer", "wait")
        websocket = options.get("websocket")
        filters = options.get("filters", ())
        executor = options.get("executor")
        limits = options.get("limits") or Limits()
        deadlines = options.get("deadlines") or Deadlines()
        made = as_handler(handler)
        endpoint = Endpoint.parse(url)
        hooks = handler_hooks(made)
        if endpoint.scheme == "http" and hooks.request is None:
            raise ConfigurationError(
                f"{url}: an http:// endpoint needs a Handler with on_request", subject="handler"
            )
        native = native_options(
            endpoint,
            framing,
            limits,
            deadlines,
            slow_consumer,
            websocket=websocket,
            parts=hooks.part is not None,
            filtered=add_filters(hooks, filters),
        )
        backlog, reuse_port = options.get("backlog", 4096), options.get("reuse_port", False)
        site = _Site(made, endpoint, native, hooks, deadlines, backlog, reuse_port)
        if executor == "threads":
            site.threads = ThreadedHooks(hooks, limits.inbox_messages_max, limits.inbox_bytes_max)
            site.hooks = site.threads.hooks
        elif executor is not None:
            raise ConfigurationError(
                f"executor is 'threads' or None; got {executor!r}", subject="executor"
            )
        if self._life is not None:
            self._listen(site)
            self._tell(site, "on_start")
        self._sites.append(site)
        return site.endpoint

    @property
    def urls(self) -> list[str]:
        """The endpoints' URLs, with the ports that they really have."""
        return [str(site.endpoint) for site in self._sites]

    async def start(self) -> None:
        """Listen on every endpoint; on none when one of them fails.

        Raises:
            OSError: an endpoint cannot be listened on.
            RuntimeError: the server runs already, or the loop is not Vespiary's.
        """
        if self._life is not None:
            raise RuntimeError("the server runs already")
        running_core()
        try:
            for site in self._sites:
                self._listen(site)
        except BaseException:
            await self._close_listeners()
            for site in self._sites:
                _let_go(site)
            raise
        self._life = _Life(started=time.monotonic())
        for site in self._sites:
            self._tell(site, "on_start")
            logger.info("Serving %s", site.endpoint)

    async def stop(self, drain_seconds: float | None = None) -> None:
        """Stop in good order: accept nobody, tell every connection, drain, then close.

        Handlers that are async functions get the messages already received and then the end; plain
        ones are closed once what waits is written; WebSocket peers are told 1001. What has not
        ended after the drain is reset, and its tasks are cancelled.

        Args:
            drain_seconds: How long the drain may take; left out, each endpoint's `drain_seconds`.
        """
        life = self._life
        if life is None:
            return
        if life.stopping:
            await life.stopped.wait()
            return
        life.stopping = True
        for site in self._sites:
            if site.listener is not None:
                site.listener.close()
        for site in self._sites:
            self._tell(site, "on_stop")
            if site.listener is not None and requires("rfc6455/7.4.1/h7", True):
                site.listener.finish_connections(_GOING_AWAY, "the server is going away")
        await self._drain(life, drain_seconds)
        await self._close_listeners()
        for site in self._sites:
            if site.threads is not None:
                await asyncio.to_thread(site.threads.close)
            _let_go(site)
        self._life = None
        life.stopped.set()

    def stop_soon(self) -> None:
        """Begin to stop, from anywhere on the loop's thread; a second call ends at once."""
        life = self._life
        if life is None:
            return
        if life.stopping:
            life.force.set()
        else:
            life.stopper = asyncio.get_running_loop().create_task(self.stop())

    async def wait_stopped(self) -> None:
        """Wait until the server has stopped."""
        if self._life is not None:
            await self._life.stopped.wait()

    def run(
        self,
        *,
        driver: str | None = None,
        spin_microseconds: int = 0,
        on_serving: Callable[[Sequence[str]], object] | None = None,
    ) -> None:
        """Run in a loop of its own until SIGTERM or SIGINT, for a program that does nothing else.

        The first signal stops in good order (see `stop`); a second one ends at once. Where logging
        is not set up, addresses and errors are logged to stderr.

        Args:
            driver: `uring` or `epoll`; left out, the best that works here.
            spin_microseconds: See `vespiary.loop.Loop`.
            on_serving: Called with the endpoints' URLs once all of them listen.

        Raises:
            OSError: an endpoint cannot be listened on.
        """
        if not logging.getLogger().handlers and not logger.handlers:
            logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

        async def main() -> None:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, Loop)
            logger.info("%s", loop.driver_choice)
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self.stop_soon)
            async with self:
                if on_serving is not None:
                    on_serving(self.urls)
                await self.wait_stopped()

        run(main(), driver=driver, spin_microseconds=spin_microseconds)

    def publish(
        self,
        topic: str,
        message: bytes | str,
        *,
        exclude: Connection | None = None,
        compress: bool | None = None,
    ) -> int:
        """Send a message to every connection subscribed to a topic; how many took it.

        The frame is encoded once, and compressed once for all who agreed on the same parameters
        without context takeover; `compress` is as for `Connection.send`. A subscriber that does not
        read is met by its endpoint's policy for slow consumers, and delays nobody else.
        """
        return running_core().publish(topic, message, exclude, compress)

    def subscribers(self, topic: str) -> int:
        """How many connections are subscribed to a topic."""
        return running_core().subscribers(topic)

    def set_timer(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` in so many seconds; timers are cheap, a million of them too."""
        return running_core().set_timer(seconds, callback)

    def statistics(self) -> ServerStatistics:
        """What has happened since the start."""
        port = PortStatistics(**running_core().port_statistics())
        endpoints = tuple(_endpoint_statistics(site) for site in self._sites)
        running = time.monotonic() - self._life.started if self._life is not None else 0.0
        return ServerStatistics(port=port, endpoints=endpoints, running_seconds=running)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def _listen(self, site: _Site) -> None:
        endpoint = site.endpoint
        try:
            address: str | tuple[str, int] = endpoint.path
            if endpoint.scheme != "unix":
                address = _resolve(endpoint)
            site.listener = running_core().listen(
                address, str(endpoint), site.hooks, site.options, site.backlog, site.reuse_port
            )
        except OSError as error:
            raise _explained(error, endpoint) from None
        bound = site.listener.address
        if isinstance(bound, tuple):
            site.endpoint = endpoint.with_port(bound[1])
            site.listener.set_url(str(site.endpoint))

    def _tell(self, site: _Site, name: str) -> None:
        method = getattr(site.handler, name, None)
        if isinstance(site.handler, Handler) and method is not None:
            try:
                method(self)
            except Exception:
                logger.exception("%s of %s failed", name, site.endpoint)

    async def _close_listeners(self) -> None:
        """Give every address back."""
        listeners = [site.listener for site in self._sites if site.listener is not None]
        for listener in listeners:
            listener.close()
        # It takes the port a turn.
        while not all(it.is_closed for it in listeners):  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def _drain(self, life: _Life, drain_seconds: float | None) -> None:
        began = time.monotonic()
        for site in self._sites:
            listener = site.listener
            if listener is None:
                continue
            limit = site.deadlines.drain_seconds if drain_seconds is None else drain_seconds
            while listener.connection_count and not life.force.is_set():
                if limit is not None and time.monotonic() - began >= limit:
                    break
                await asyncio.sleep(_POLL_SECONDS)
            await self._cut(site, listener)

    async def _cut(self, site: _Site, listener: Listener) -> None:
        """End what the drain has left."""
        left = listener.connection_count
        if not left:
            return
        logger.warning("%s: %d connections did not end in time and are reset", site.endpoint, left)
        tasks = listener.tasks()
        listener.abort_connections()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        while listener.connection_count:  # noqa: ASYNC110 - resets end in the next turn or two.
            await asyncio.sleep(0)


def _resolve(endpoint: Endpoint) -> tuple[str, int]:
    """The first address of the endpoint's host."""
    found = socket.getaddrinfo(
        endpoint.host or None,
        endpoint.port,
        type=socket.SOCK_STREAM,
        flags=socket.AI_PASSIVE,
    )
    host, port = found[0][4][:2]
    return str(host), int(port)


def _explained(error: OSError, endpoint: Endpoint) -> OSError:
    """The same error, with what to do about it."""
    advice = {
        errnos.EADDRINUSE: "another process listens there; stop it, or choose another port",
        errnos.EACCES: "ports below 1024, and folders of others, need a privilege",
        errnos.EADDRNOTAVAIL: "no interface of this machine has that address",
    }.get(error.errno or 0)
    text = f"cannot listen on {endpoint}: {error.strerror or error}"
    if advice is not None:
        text = f"{text} ({advice})"
    return type(error)(error.errno, text)


def _let_go(site: _Site) -> None:
    """Keep what a closed listener has counted, and nothing else of it."""
    if site.listener is not None:
        site.ended = _endpoint_statistics(site)
        site.listener.release()
        site.listener = None


def _endpoint_statistics(site: _Site) -> EndpointStatistics:
    if site.listener is None:
        return site.ended or EndpointStatistics(url=str(site.endpoint))
    fields = site.listener.statistics()
    fields["url"] = str(site.endpoint)
    errors: dict[int, int] = fields["accept_errors"]
    fields["accept_errors"] = {
        errnos.errorcode.get(number, str(number)): count for number, count in errors.items()
    }
    return EndpointStatistics(**fields)


def serve(
    handler: AnyHandler,
    *urls: str,
    driver: str | None = None,
    spin_microseconds: int = 0,
    on_serving: Callable[[Sequence[str]], object] | None = None,
    **options: Unpack[ServerOptions],
) -> None:
    """Serve a handler on one or more URLs until SIGTERM or SIGINT.

    The first signal stops gracefully (see `Server.stop`); a second one ends at once.

    Args:
        handler: A `Handler`, a subclass of it, or an async function that takes a connection.
        urls: The endpoints.
        driver: `uring` or `epoll`; default: the best that works here.
        spin_microseconds: See `vespiary.loop.Loop`.
        on_serving: Called with the endpoints' URLs once all of them listen.
        options: The same for every endpoint: see `vespiary.ServerOptions`.

    Raises:
        ConfigurationError: the handler, a URL or an option is not valid.
        OSError: an endpoint cannot be listened on.
    """
    if not urls:
        raise ConfigurationError("serve needs at least one URL, such as ws://127.0.0.1:9001")
    server = Server()
    for url in urls:
        server.add(handler, url, **options)
    server.run(driver=driver, spin_microseconds=spin_microseconds, on_serving=on_serving)
