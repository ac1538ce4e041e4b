"""An endpoint of a server: what was asked for, and its native half while the server runs."""

from __future__ import annotations

import asyncio
import contextlib
import errno as errnos
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from vespiary import _logging
from vespiary._callbacks import may_be_async
from vespiary._core import Hooks
from vespiary._credentials import bare_url
from vespiary._datagrams import check_groups, check_kind, datagram_hooks
from vespiary._hooks import as_handler, handler_hooks
from vespiary._hosted import Hosted, engine_endpoint
from vespiary._option_checks import check_options, wrong_option
from vespiary._options import native_options
from vespiary._proxy_networks import forwarded_options, proxy_networks
from vespiary._slow_hooks import timed
from vespiary._threads import ThreadedHooks
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError
from vespiary.filters import add_filters
from vespiary.handler import AnyHandler, AsyncHandler, Handler
from vespiary.limits import Deadlines, Limits
from vespiary.request import native_response
from vespiary.routing import HostPattern, PathPattern, Route
from vespiary.server_options import SLOW_CONSUMER, ServerOptions
from vespiary.statistics import EndpointStatistics
from vespiary.tls import ServerTLS
from vespiary.trace import requires

if TYPE_CHECKING:
    from vespiary._core import Connection, ServerTls
    from vespiary._core import Site as NativeSite
    from vespiary._life import Life
    from vespiary._server_hooks import Hook
    from vespiary.errors import CloseReason
    from vespiary.request import Request

__all__ = ["Site", "endpoint_statistics"]

logger = logging.getLogger("vespiary")

_NOT_STARTED = "this part of the server is starting; try again later\n"


@dataclass(slots=True, eq=False)
class Site:
    """An endpoint of a server.

    Attributes:
        handler: What serves it.
        endpoint: Its URL, with the port that the kernel chose once it listens.
        route: What it serves of its address, where it begins with an HTTP request.
        options: What was asked for.
        limits: Its limits, complete.
        deadlines: Its deadlines, complete.
        hooks: The handler's methods as the native side calls them.
        native_options: Everything that the native side is given.
        task_name: The name of its handler's tasks: one object, by which they are found.
        threads: The pool that runs the handler's methods, with `executor="threads"`.
        native: Its native half, while the server runs.
        on_start: The async `on_start` that has to return before it serves, if one runs.
        substitute: What answers its requests until then.
        ended: Its statistics when it was closed.
    """

    handler: Handler | AsyncHandler
    endpoint: Endpoint
    route: Route | None
    options: ServerOptions
    limits: Limits
    deadlines: Deadlines
    hooks: Hooks
    native_options: dict[str, Any]
    task_name: str
    threads: ThreadedHooks | None = None
    native: NativeSite | None = None
    on_start: Hook | None = None
    substitute: NativeSite | None = None
    ended: EndpointStatistics | None = field(default=None, repr=False)

    @classmethod
    def make(cls, handler: AnyHandler, url: str, options: ServerOptions) -> Site:
        """Check everything that can be checked before the start.

        Raises:
            ConfigurationError: the handler, the URL or an option is not valid.
        """
        check_options(options, ServerOptions.__annotations__, "an endpoint")
        made = as_handler(handler)
        endpoint = Endpoint.parse(url)
        served = engine_endpoint(made, endpoint, options.get("executor"))
        check_kind(endpoint, options, made)
        _check_socket_options(endpoint, options)
        route = _route(endpoint, options.get("host"), url)
        limits = options.get("limits") or Limits()
        deadlines = options.get("deadlines") or Deadlines()
        task_name = f"the handler of {url}"
        has_connections = not endpoint.is_datagram or options.get("connections", False)
        if endpoint.is_datagram:
            check_groups(endpoint, options.get("multicast_groups", ()))
        if isinstance(made, Hosted):
            is_behind_proxy = bool(options.get("forwarded_from"))
            hooks = made.make_hooks(endpoint, task_name, is_behind_proxy=is_behind_proxy)
        elif not has_connections:
            hooks = datagram_hooks(made, task_name, limits.datagrams_pending_max)
        else:
            hooks = handler_hooks(made, task_name)
            _check_request_hook(endpoint, hooks)
        if route is not None:
            hooks.path_pattern = route.path
        native = native_options(
            served,
            options.get("framing"),
            limits,
            deadlines,
            options.get("slow_consumer", SLOW_CONSUMER),
            websocket=options.get("websocket"),
            parts=hooks.part is not None,
            streams_requests=_streams_requests(endpoint, made, hooks, options.get("executor")),
            filtered=add_filters(hooks, options.get("filters", ())),
        )
        if endpoint.is_datagram and has_connections:
            native["framing"] = "datagram"
        native["hosts_application"] = isinstance(made, Hosted)
        native |= _proxies(endpoint, options)
        native["tls"] = _native_tls(endpoint, options.get("tls"))
        threads = _threads(hooks, options.get("executor"), limits, deadlines)
        return cls(
            handler=made,
            endpoint=endpoint,
            route=route,
            options=options,
            limits=limits,
            deadlines=deadlines,
            hooks=hooks if threads is None else threads.hooks,
            native_options=native,
            task_name=task_name,
            threads=threads,
        )

    @property
    def tls(self) -> ServerTLS | None:
        """Its certificate and key, if it has TLS."""
        return self.options.get("tls")

    @property
    def url(self) -> str:
        """The URL, with the parameters of its path as they were written."""
        url = str(self.endpoint)
        return url if self.route is None else url.replace("%7B", "{").replace("%7D", "}")

    def open(self, life: Life) -> NativeSite:
        """Make its native half for a run of its server; this decides if connections are logged."""
        if self.threads is not None:
            self.threads.open()
        hooks = self.hooks
        if life.loop.get_debug():
            hooks = timed(hooks, life.loop)
        if logger.isEnabledFor(logging.DEBUG):
            hooks = self._logged(hooks.copy())
        self.native = life.core.site(
            self.url, hooks, self.native_options, life.topics, life.context
        )
        return self.native

    def wait_for(self, on_start: Hook, life: Life) -> None:
        """Have every request answered 503 until `begin`, on an address that serves already."""
        is_logged = False

        def refuse(connection: Connection, asked: Request) -> object:
            nonlocal is_logged
            if not is_logged:
                is_logged = True
                logger.warning("Answering 503 at %s until its on_start has returned", self.url)
            return native_response(asked.respond(503, _NOT_STARTED, {"Retry-After": "1"}))

        hooks = Hooks(
            request=refuse,
            filter_received=self.hooks.filter_received,
            filter_sent=self.hooks.filter_sent,
        )
        self.on_start = on_start
        self.substitute = life.core.site(
            self.url, hooks, self.native_options, life.topics, life.context
        )

    def begin(self) -> None:
        """Serve from now on."""
        self.on_start = self.substitute = None

    @property
    def serving(self) -> NativeSite | None:
        """What answers its requests now."""
        return self.native if self.substitute is None else self.substitute

    def _logged(self, hooks: Hooks) -> Hooks:
        """The same hooks, which log each connection and each request."""
        opened, closed, request = hooks.open, hooks.close, hooks.request

        def log_open(connection: Connection) -> object:
            _logging.connection_opened(self.url, connection)
            return opened(connection) if opened is not None else None

        def log_close(connection: Connection, reason: CloseReason) -> object:
            _logging.connection_closed(self.url, connection, reason)
            return closed(connection, reason) if closed is not None else None

        def log_request(connection: Connection, asked: Request) -> object:
            _logging.request_came(self.url, asked)
            return request(connection, asked) if request is not None else None

        hooks.open, hooks.close = log_open, log_close
        if request is not None:
            log_request.__wrapped__ = request  # type: ignore[attr-defined] # For its name.
            hooks.request = log_request
        return hooks

    def set_endpoint(self, endpoint: Endpoint) -> None:
        """Take the port that the kernel chose."""
        self.endpoint = endpoint
        if self.native is not None:
            self.native.set_url(self.url)

    def tasks(self) -> set[asyncio.Task[Any]]:
        """Return the tasks of its handler that run, those of ended connections too."""
        return {task for task in asyncio.all_tasks() if self.has_task(task)}

    def has_task(self, task: asyncio.Task[Any]) -> bool:
        """Whether a task is one of its handler's."""
        return task.get_name() is self.task_name

    def release(self) -> None:
        """Keep what the native half has counted, and nothing else of it."""
        self.begin()
        if self.native is not None:
            self.ended = self.statistics()
            self.native = None
            if self.threads is not None:
                self.threads.close()

    def forget(self) -> None:
        """The same after the loop has been closed: what was counted may be gone with it."""
        with contextlib.suppress(RuntimeError):
            self.ended = self.statistics()
        self.native = None
        self.begin()

    def statistics(self) -> EndpointStatistics:
        """Return what has happened since the start."""
        if self.native is None:
            return self.ended or EndpointStatistics(url=self.url)
        return endpoint_statistics(self.url, self.native.statistics())


def endpoint_statistics(url: str, fields: dict[str, Any]) -> EndpointStatistics:
    """The statistics of an endpoint, from what the native side counts: errnos get their names."""
    fields["url"] = url
    errors = cast("dict[int, int]", fields["accept_errors"])
    fields["accept_errors"] = _by_name(errors)
    fields["datagram_errors"] = _by_name(cast("dict[int, int]", fields["datagram_errors"]))
    dropped = cast("dict[str, int]", fields["datagrams_dropped"])
    fields["datagrams_dropped"] = {
        _errno_name(int(cause)) if cause.isdigit() else cause: count
        for cause, count in dropped.items()
    }
    return EndpointStatistics(**fields)


def _errno_name(number: int) -> str:
    return errnos.errorcode.get(number, str(number))


def _by_name(errors: dict[int, int]) -> dict[str, int]:
    return {_errno_name(number): count for number, count in errors.items()}


def _proxies(endpoint: Endpoint, options: ServerOptions) -> dict[str, Any]:
    """Return which proxies are trusted, as the native side takes it."""
    name = "proxy_protocol_from"
    trusted, field = options.get("forwarded_from", ()), options.get("forwarded_field")
    return {
        "proxies": proxy_networks(endpoint, name, options.get(name, ())),
        "forwarders": forwarded_options(endpoint, trusted, field),
    }


def _native_tls(endpoint: Endpoint, tls: ServerTLS | None) -> ServerTls | None:
    if tls is not None and not isinstance(tls, ServerTLS):
        raise wrong_option("tls", tls, "a ServerTLS or None")
    if endpoint.is_secure and tls is None:
        raise ConfigurationError(
            f"{endpoint} needs a certificate: pass tls=ServerTLS(certificate, key);"
            " for development, `vespiary cert` creates both files",
            subject="tls",
        )
    if tls is not None and not endpoint.is_secure:
        secure = {"tcp": "tls", "ws": "wss", "http": "https"}.get(endpoint.scheme)
        advice = f": write {secure}://" if secure else ""
        raise ConfigurationError(
            f"{endpoint} does not use TLS, so tls would have no effect{advice}",
            subject="tls",
            value=tls,
        )
    if requires("rfc6455/4.2.2/2", endpoint.is_secure) and tls is not None:
        return tls.native(is_http=endpoint.has_http)
    return None


def _route(endpoint: Endpoint, host: str | None, url: str) -> Route | None:
    if not endpoint.has_http:
        if host is not None:
            raise ConfigurationError(
                f"{url}: host= is only for ws:// and http://: remove it",
                subject="host",
                value=host,
            )
        return None
    path, question, _ = endpoint.target.partition("?")
    if question:
        shown = bare_url(url)
        raise ConfigurationError(
            f"{shown!r} cannot be served: only the path of a request is matched: remove the query",
            subject=shown,
            value=shown,
        )
    scheme = "ws" if endpoint.is_websocket else "http"
    return Route(scheme, PathPattern.parse(path, url), HostPattern.parse(host))


def _check_socket_options(endpoint: Endpoint, options: ServerOptions) -> None:
    given = [name for name in ("sock", "fd", "mode") if options.get(name) is not None]
    if len(given) > 1:
        raise ConfigurationError(
            f"{endpoint}: {given[0]}= and {given[1]}= exclude each other: pass one of them",
            subject=given[0],
        )
    mode = options.get("mode")
    if mode is not None and not endpoint.is_unix:
        raise ConfigurationError(
            f"{endpoint}: mode= is only for Unix sockets: remove it",
            subject="mode",
            value=mode,
        )
    if mode is not None and (type(mode) is not int or not 0 <= mode <= 0o777):
        raise ConfigurationError(
            f"mode= is a number of permissions such as 0o660; got {mode!r}",
            subject="mode",
            value=mode,
        )


def _check_request_hook(endpoint: Endpoint, hooks: Hooks) -> None:
    if not endpoint.is_http:
        hooks.exchange = None
    if endpoint.is_http and hooks.request is None and hooks.exchange is None:
        raise ConfigurationError(
            f"{endpoint}: an http:// endpoint needs a Handler with on_request", subject="handler"
        )
    if not endpoint.has_http and hooks.request is not None:
        raise ConfigurationError(
            f"{endpoint}: on_request would never be called, because this endpoint gets no "
            "HTTP requests: use a handler without it (on_request = "
            "vespiary.Handler.on_request)",
            subject="on_request",
        )


def _streams_requests(
    endpoint: Endpoint, handler: Handler | AsyncHandler, hooks: Hooks, executor: object
) -> bool:
    """Whether requests are handed over before their bodies have come."""
    if hooks.exchange is not None:
        return True
    asked = handler.stream_requests if isinstance(handler, Handler) else False
    if not isinstance(asked, bool):
        raise ConfigurationError(
            f"{type(handler).__name__}.stream_requests is True or False; got {asked!r}",
            subject="stream_requests",
            value=asked,
        )
    if not asked or not endpoint.has_http or hooks.request is None:
        return False
    method = getattr(hooks.request, "__wrapped__", hooks.request)
    if executor is not None and not may_be_async(method):
        raise ConfigurationError(
            "stream_requests cannot be combined with executor='threads' and a plain on_request,"
            " which cannot await the pieces of a body: make on_request async, or remove"
            " stream_requests",
            subject="stream_requests",
        )
    return True


def _threads(
    hooks: Hooks, executor: object, limits: Limits, deadlines: Deadlines
) -> ThreadedHooks | None:
    if executor is None:
        return None
    if executor != "threads":
        raise ConfigurationError(
            f"executor is 'threads' or None; got {executor!r}", subject="executor", value=executor
        )
    return ThreadedHooks(hooks, limits, deadlines.thread_idle_seconds)
