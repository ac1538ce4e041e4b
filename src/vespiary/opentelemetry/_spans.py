"""Spans of requests and connections, with the attributes of OpenTelemetry's conventions.

The names are those of the semantic conventions for HTTP, version 1.27 and later, which are stable.
There are none for WebSockets: their spans have the attributes of their request, and those of
`vespiary.`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from contextvars import Token
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from opentelemetry import context, metrics, propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

__all__ = ["Facts", "RequestSpan", "Telemetry", "fail", "first_values"]

_SCOPE = "vespiary"
_METHODS = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
)
_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
"""The ranges that the conventions recommend."""
_UNSET = ("ProxyTracerProvider", "_ProxyMeterProvider", "NoOpTracerProvider", "NoOpMeterProvider")


@dataclass(slots=True)
class Facts:
    """What is known when a request begins.

    Attributes:
        method: The method, as sent.
        target: Path and query.
        scheme: `http`, `https`, `ws` or `wss`.
        headers: The header fields, names in lower case. Of a repeated one, the first.
        version: `1.0` or `1.1`.
        peer: The client's address, if it has one.
    """

    method: str
    target: str
    scheme: str
    headers: Mapping[str, str]
    version: str = "1.1"
    peer: Any = None

    def attributes(self) -> dict[str, Any]:
        """The attributes of a span."""
        path, _, query = self.target.partition("?")
        found: dict[str, Any] = {
            "http.request.method": self.method if self.method in _METHODS else "_OTHER",
            "url.path": path,
            "url.scheme": self.scheme,
            "network.protocol.name": "http",
            "network.protocol.version": self.version,
        }
        if query:
            found["url.query"] = query
        if self.method not in _METHODS:
            found["http.request.method_original"] = self.method
        if agent := self.headers.get("user-agent"):
            found["user_agent.original"] = agent
        if host := self.headers.get("host"):
            name, _, port = host.rpartition(":")
            has_port = bool(name) and port.isdecimal()
            found["server.address"] = name if has_port else host
            if has_port:
                found["server.port"] = int(port)
        if isinstance(self.peer, tuple):
            found["client.address"], found["client.port"] = self.peer[0], self.peer[1]
        return found

    @property
    def name(self) -> str:
        """The span's name while no route is known."""
        return self.method if self.method in _METHODS else "HTTP"


class Telemetry:
    """A tracer and the instruments of one instrumented handler."""

    def __init__(
        self, tracers: trace.TracerProvider, meters: metrics.MeterProvider, *, measures: bool
    ) -> None:
        self.tracer = tracers.get_tracer(_SCOPE, version("vespiary"))
        meter = meters.get_meter(_SCOPE, version("vespiary"))
        self.duration = (
            meter.create_histogram(
                "http.server.request.duration",
                unit="s",
                description="Duration of HTTP server requests.",
                explicit_bucket_boundaries_advisory=_SECONDS,
            )
            if measures
            else None
        )

    @classmethod
    def of(
        cls, tracers: trace.TracerProvider | None, meters: metrics.MeterProvider | None
    ) -> Telemetry | None:
        """What some providers, or the global ones, take; None if there are none."""
        tracers = tracers or trace.get_tracer_provider()
        meters = meters or metrics.get_meter_provider()
        traces, measures = (type(it).__name__ not in _UNSET for it in (tracers, meters))
        return cls(tracers, meters, measures=measures) if traces or measures else None

    def begin_connection(self, name: str, attributes: Mapping[str, Any]) -> Span:
        """Begin the span of a connection that has no request."""
        return self.tracer.start_span(name, kind=SpanKind.SERVER, attributes=dict(attributes))


class RequestSpan:
    """The span of a request, from its head to the end of its application."""

    __slots__ = ("_began", "_context", "_facts", "_status", "_telemetry", "_token", "span")

    def __init__(self, telemetry: Telemetry, facts: Facts, name: str | None = None) -> None:
        parent = propagate.extract(facts.headers)
        self._telemetry = telemetry
        self._facts = facts
        self.span = telemetry.tracer.start_span(
            name or facts.name,
            context=parent,
            kind=SpanKind.SERVER,
            attributes=facts.attributes(),
        )
        self._context = trace.set_span_in_context(self.span, parent)
        self._began = time.perf_counter()
        self._status = 0
        self._token: Token[context.Context] | None = None

    def enter(self) -> None:
        """Make it the current span."""
        self._token = context.attach(self._context)

    def leave(self) -> None:
        """Make the span before it the current one again."""
        if self._token is not None:
            context.detach(self._token)
            self._token = None

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Be the current span in a block. An exception that leaves the block ends the span."""
        self.enter()
        try:
            yield
        except BaseException as error:
            self.set_failure(error)
            self.leave()
            self.end()
            raise
        self.leave()

    def set_status(self, status: int) -> None:
        """The status of the response."""
        self._status = status
        self.span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self.span.set_status(Status(StatusCode.ERROR))
            self.span.set_attribute("error.type", str(status))

    def set_failure(self, error: BaseException) -> None:
        """What the application has raised."""
        fail(self.span, error)

    def end(self, route: str | None = None, *, is_measured: bool = True) -> None:
        """End the span.

        Args:
            route: The pattern that the path has matched.
            is_measured: Whether its duration is that of a request, and not of a connection.
        """
        if route:
            self.span.set_attribute("http.route", route)
            self.span.update_name(f"{self._facts.name} {route}")
        self.span.end()
        duration = self._telemetry.duration
        if duration is None or not is_measured:
            return
        method = self._facts.method
        attributes: dict[str, Any] = {
            "http.request.method": method if method in _METHODS else "_OTHER",
            "url.scheme": self._facts.scheme,
        }
        if self._status:
            attributes["http.response.status_code"] = self._status
        if route:
            attributes["http.route"] = route
        duration.record(time.perf_counter() - self._began, attributes, self._context)


def fail(span: Span, error: BaseException) -> None:
    """Note in a span what was raised."""
    span.record_exception(error)
    span.set_status(Status(StatusCode.ERROR, str(error)))
    span.set_attribute("error.type", type(error).__qualname__)


def first_values(lines: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header fields of ASGI as text: of a repeated one, the first."""
    found: dict[str, str] = {}
    for name, value in lines:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return found
