"""Async functions that serve a connection each, with a span."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from opentelemetry import context, trace

from vespiary.opentelemetry._handlers import connection_span, end_connection
from vespiary.opentelemetry._spans import Telemetry, fail

if TYPE_CHECKING:
    from vespiary._core import Connection

__all__ = ["traced_function"]


def traced_function(
    function: Callable[..., Any], telemetry: Telemetry
) -> Callable[..., Awaitable[None]]:
    """Return an async function with a span for each connection."""

    @functools.wraps(function)
    async def traced(connection: Connection[Any]) -> None:
        span = connection_span(telemetry, connection)
        token = context.attach(trace.set_span_in_context(span))
        try:
            await function(connection)
        except BaseException as error:
            fail(span, error)
            raise
        finally:
            context.detach(token)
            end_connection(span, connection, connection.close_reason)

    return traced
