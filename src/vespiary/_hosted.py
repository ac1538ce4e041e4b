"""Handlers that run applications of another interface, such as ASGI and WSGI.

They have no methods for requests of their own: they say what the engine calls for an endpoint.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, cast

from vespiary.endpoint import Endpoint, Scheme
from vespiary.errors import ConfigurationError
from vespiary.handler import Handler

if TYPE_CHECKING:
    from vespiary._core import Hooks

__all__ = ["Hosted", "engine_endpoint"]

_WITH_WEBSOCKET = {"http": "ws", "https": "wss", "http+unix": "ws+unix"}


class Hosted(Handler[Any]):
    """A handler that runs an application.

    Attributes:
        takes_upgrades: Whether it takes WebSockets on http:// endpoints too.
        interface: What the application's interface is called.
    """

    takes_upgrades: ClassVar[bool] = False
    interface: ClassVar[str] = ""

    def make_hooks(self, endpoint: Endpoint, task_name: str, *, is_behind_proxy: bool) -> Hooks:
        """Return what the engine calls for an endpoint.

        Args:
            endpoint: The endpoint.
            task_name: The name of all tasks of the endpoint: this very object.
            is_behind_proxy: Whether some proxies are trusted to name their clients.
        """
        raise NotImplementedError


def engine_endpoint(handler: object, endpoint: Endpoint, executor: object) -> Endpoint:
    """Return an endpoint as the engine serves it, for a handler that may be a `Hosted`.

    Raises:
        ConfigurationError: the application cannot be served there.
    """
    if not isinstance(handler, Hosted):
        return endpoint
    if not endpoint.has_http:
        raise ConfigurationError(
            f"{endpoint}: {handler.interface} applications are served on http:// and https://"
            " endpoints, and not on this one",
            subject="handler",
        )
    if not handler.takes_upgrades and endpoint.is_websocket:
        raise ConfigurationError(
            f"{endpoint}: {handler.interface} has no WebSockets: serve the application on an"
            " http:// endpoint",
            subject="handler",
        )
    if executor is not None:
        raise ConfigurationError(
            f"{endpoint}: executor= is for the methods of a Handler, and has no effect on"
            f" {handler.interface} applications: remove it",
            subject="executor",
            value=executor,
        )
    if handler.takes_upgrades and endpoint.is_http:
        scheme = cast("Scheme", _WITH_WEBSOCKET[endpoint.scheme])
        return dataclasses.replace(endpoint, scheme=scheme)
    return endpoint
