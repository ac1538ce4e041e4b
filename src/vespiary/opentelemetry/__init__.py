"""OpenTelemetry: spans of requests and connections, and the counters of a server as metrics.

::

    handler = vespiary.opentelemetry.instrument(vespiary.ASGI(app))
    vespiary.serve(handler, "http://127.0.0.1:8000")

Needs `pip install 'vespiary[opentelemetry]'`. The providers are those of the official SDK. A
handler that is not instrumented, or for which no provider is configured, costs nothing.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from opentelemetry import metrics, trace

from vespiary.errors import ConfigurationError
from vespiary.handler import Handler
from vespiary.http import ASGI, WSGI
from vespiary.opentelemetry._applications import traced_asgi, traced_wsgi
from vespiary.opentelemetry._functions import traced_function
from vespiary.opentelemetry._handlers import trace_methods
from vespiary.opentelemetry._server_metrics import register
from vespiary.opentelemetry._spans import Telemetry

if TYPE_CHECKING:
    from vespiary.server import Server

__all__ = ["instrument", "observe"]

T = TypeVar("T")

logger = logging.getLogger("vespiary")

_MARK = "is_traced_by_vespiary"


def instrument(
    handler: T,
    *,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
) -> T:
    """Make spans of the requests and the connections of a handler.

    * An HTTP request has a span until its application, or `on_request`, has returned.
    * A WebSocket, or a connection of another protocol, has a span until its application has
      returned, or until `on_close`.

    A span begins in the trace that the request's header fields name. It is the current one while
    the application or a method of the handler runs, so that its own spans are below it.
    `http.server.request.duration` measures the requests.

    Args:
        handler: An `ASGI` or `WSGI`, an object of a `Handler`, or an async function. What was
            instrumented before is left as it is.
        tracer_provider: Default: the global one. If none was set, nothing is traced.
        meter_provider: Default: the global one. If none was set, nothing is measured.

    Returns:
        The same object; for an async function another one.

    Raises:
        ConfigurationError: `handler` is not a handler.
    """
    is_function = inspect.iscoroutinefunction(handler)
    if not isinstance(handler, ASGI | WSGI | Handler) and not is_function:
        raise ConfigurationError(
            "only an ASGI or WSGI, an object of a Handler, or an async function can be"
            f" instrumented; got {handler!r:.200}",
            subject="handler",
            value=handler,
        )
    telemetry = Telemetry.of(tracer_provider, meter_provider)
    if telemetry is None:
        logger.info("OpenTelemetry has no provider: %r is not instrumented", handler)
        return handler
    if hasattr(handler, _MARK):
        return handler
    traced: Any = handler
    if isinstance(handler, ASGI):
        handler._hosting.app = traced_asgi(handler._hosting.app, telemetry)
    elif isinstance(handler, WSGI):
        handler._hosting.app = traced_wsgi(handler._hosting.app, telemetry)
    elif isinstance(handler, Handler):
        trace_methods(handler, telemetry)
    else:
        traced = traced_function(cast("Callable[..., Any]", handler), telemetry)
    setattr(traced, _MARK, True)
    result: T = traced
    return result


def observe(server: Server, *, meter_provider: metrics.MeterProvider | None = None) -> None:
    """Export the counters of a server as metrics, with the endpoint's URL as an attribute.

    They are read when the meter's reader collects, in its thread; nothing is counted twice. With
    workers, call this in one process: the numbers are the sums over all of them.

    Args:
        server: The server. It may be started later; while it does not run there are no values.
        meter_provider: Default: the global one.
    """
    register(server, meter_provider or metrics.get_meter_provider())
