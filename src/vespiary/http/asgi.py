"""`vespiary.ASGI`: an ASGI 3 application as a handler."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from vespiary._core import Hooks
from vespiary._hosted import Hosted
from vespiary.errors import ConfigurationError
from vespiary.http._hosting import ASGIApplication, Hosting
from vespiary.http._http_call import make_application
from vespiary.http._kinds import check_application
from vespiary.http._lifespan import Lifespan
from vespiary.http._options import check_root_path, check_switch
from vespiary.http._scope import Scopes
from vespiary.http._websocket_call import begin_websocket, is_working, opened

if TYPE_CHECKING:
    from vespiary.endpoint import Endpoint
    from vespiary.server import Server

__all__ = ["ASGI"]

LifespanMode = Literal["auto", "on", "off"]


class ASGI(Hosted):
    """An ASGI 3 application, to be served on `http://` and `https://` endpoints.

    ::

        from fastapi import FastAPI

        app = FastAPI()

        vespiary.serve(vespiary.ASGI(app), "http://127.0.0.1:8000")

    The same endpoint takes WebSockets. The application runs on the loop's thread, in a task for
    each request and each WebSocket.

    Args:
        app: The application.
        lifespan: `"on"` makes it an error that the application does not support the lifespan
            protocol; `"off"` does not use the protocol. `"auto"` uses it if the application
            supports it.
        root_path: The path at which the application is mounted. By default a proxy in front is
            assumed to have removed it from the requests, so it is put before their paths. Where
            the path of the endpoint's URL begins with it, as in `/api/{rest:path}`, it is there.
        access_log: Whether each request is logged, at level INFO, by the logger
            `vespiary.access`.

    Raises:
        ConfigurationError: `app` is not an ASGI 3 application, or an option is not valid.
    """

    takes_upgrades: ClassVar[bool] = True
    interface: ClassVar[str] = "ASGI"

    def __init__(
        self,
        app: ASGIApplication,
        *,
        lifespan: LifespanMode = "auto",
        root_path: str = "",
        access_log: bool = False,
    ) -> None:
        check_application(app, "ASGI")
        if lifespan not in get_args(LifespanMode):
            raise ConfigurationError(
                f"lifespan is 'auto', 'on' or 'off'; got {lifespan!r}",
                subject="lifespan",
                value=lifespan,
            )
        self._root_path = check_root_path(root_path)
        self._lifespan_mode = lifespan
        self._hosting = Hosting(app, check_switch("access_log", access_log))
        self._lifespan: Lifespan | None = None

    def make_hooks(self, endpoint: Endpoint, task_name: str, *, is_behind_proxy: bool) -> Hooks:
        """Return what the engine calls for an endpoint."""
        scopes = Scopes(
            endpoint, self._root_path, self._hosting.state, is_behind_proxy=is_behind_proxy
        )
        return Hooks(
            exchange=make_application(self._hosting, scopes, task_name),
            request=begin_websocket(self._hosting, scopes.websocket, task_name),
            open=opened,
            working=is_working,
            receives=True,
        )

    async def on_start(self, server: Server) -> None:
        """Wait for the application's startup."""
        if self._lifespan_mode == "off":
            return
        self._hosting.state.clear()
        lifespan = Lifespan(self._hosting, is_required=self._lifespan_mode == "on")
        await lifespan.start()
        self._lifespan = lifespan

    async def on_stop(self, server: Server) -> None:
        """Wait for the application's shutdown."""
        self._hosting.starter.end()
        lifespan, self._lifespan = self._lifespan, None
        if lifespan is not None:
            await lifespan.stop()
