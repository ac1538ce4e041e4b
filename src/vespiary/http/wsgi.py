"""`vespiary.WSGI`: a WSGI application as a handler."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from vespiary._core import Hooks
from vespiary._hosted import Hosted
from vespiary._pool import Pool
from vespiary.errors import ConfigurationError
from vespiary.http._environ import Environs
from vespiary.http._kinds import check_application
from vespiary.http._options import check_root_path, check_switch
from vespiary.http._wsgi_call import WSGIApplication, WSGICall, WSGIHosting

if TYPE_CHECKING:
    from vespiary._core import Exchange
    from vespiary.endpoint import Endpoint
    from vespiary.server import Server

__all__ = ["WSGI"]

_THREADS_MAX = 1000


class WSGI(Hosted):
    """A WSGI application (PEP 3333), to be served on `http://` and `https://` endpoints.

    ::

        from flask import Flask

        app = Flask(__name__)

        vespiary.serve(vespiary.WSGI(app), "http://127.0.0.1:8000")

    The application runs on a pool of threads. The body of a request is received before the call.

    Args:
        app: The application.
        threads: How many requests the application answers at the same time; others wait. Default:
            four more than there are processors, and at most 32.
        root_path: The path at which the application is mounted: `SCRIPT_NAME`. It is removed from
            the path of requests that begin with it.
        access_log: Whether each request is logged, at level INFO, by the logger
            `vespiary.access`.

    Raises:
        ConfigurationError: `app` is not a WSGI application, or an option is not valid.
    """

    interface: ClassVar[str] = "WSGI"

    def __init__(
        self,
        app: WSGIApplication,
        *,
        threads: int | None = None,
        root_path: str = "",
        access_log: bool = False,
    ) -> None:
        check_application(app, "WSGI")
        if threads is None:
            threads = min(32, (os.cpu_count() or 1) + 4)
        elif type(threads) is not int or not 1 <= threads <= _THREADS_MAX:
            raise ConfigurationError(
                f"threads is a number from 1 to {_THREADS_MAX}; got {threads!r}",
                subject="threads",
                value=threads,
            )
        self._threads = threads
        self._root_path = check_root_path(root_path)
        self._hosting = WSGIHosting(app, check_switch("access_log", access_log))

    def make_hooks(self, endpoint: Endpoint, task_name: str, *, is_behind_proxy: bool) -> Hooks:
        """Return what the engine calls for an endpoint."""
        environs = Environs(endpoint, self._root_path, is_behind_proxy=is_behind_proxy)
        hosting = self._hosting

        def begin(exchange: Exchange) -> None:
            WSGICall(hosting, environs, exchange).begin()

        return Hooks(exchange=begin)

    def on_start(self, server: Server) -> None:
        """Make the threads."""
        self._hosting.pool = Pool(self._threads)

    def on_stop(self, server: Server) -> None:
        """End the threads."""
        pool, self._hosting.pool = self._hosting.pool, None
        if pool is not None:
            pool.close()
