"""The counters of a server as observable instruments of OpenTelemetry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

if TYPE_CHECKING:
    from vespiary.server import Server
    from vespiary.statistics import EndpointStatistics

__all__ = ["register"]

_SECONDS_MAX = 5.0
"""How long a reader waits for a loop that is busy. Then there are no values this time."""
_SILENT_SECONDS = 5.0
"""How long such a loop is not asked again: all instruments are read in one collection."""

_COUNTERS = {
    "connections_accepted": ("{connection}", "Connections that were accepted."),
    "connections_closed": ("{connection}", "Connections that were open and have ended."),
    "connections_broken": ("{connection}", "Connections that did not end cleanly."),
    "messages_received": ("{message}", "Messages handed to handlers."),
    "messages_sent": ("{message}", "Messages taken for sending."),
    "messages_dropped": ("{message}", "Messages dropped for slow consumers."),
    "bytes_received": ("By", "Bytes read from peers."),
    "bytes_sent": ("By", "Bytes that the kernel took."),
    "datagrams_received": ("{datagram}", "Datagrams handed to handlers."),
    "datagrams_sent": ("{datagram}", "Datagrams that the kernel took."),
    "handler_errors": ("{error}", "Exceptions that handlers raised."),
    "protocol_errors": ("{connection}", "Connections ended because of a protocol error."),
}
_BY_REASON = {
    "connections_refused": ("{connection}", "Connections that never opened.", "reason"),
    "requests_answered": ("{request}", "Requests that were answered.", "status"),
    "limits_reached": ("{event}", "Limits and deadlines that were reached.", "limit"),
}
_NOW = {
    "connections_open": ("{connection}", "Connections that are open."),
    "handshakes_pending": ("{connection}", "Connections in their opening handshake."),
}

Callback = Callable[[CallbackOptions], Iterable[Observation]]


def register(server: Server, provider: MeterProvider) -> None:
    """Create the instruments."""
    endpoints = _Endpoints(server)
    meter = provider.get_meter("vespiary", version("vespiary"))
    for field, (unit, text) in _COUNTERS.items():
        meter.create_observable_counter(
            f"vespiary.{field}", [_numbers(endpoints, field)], unit=unit, description=text
        )
    for field, (unit, text, key) in _BY_REASON.items():
        meter.create_observable_counter(
            f"vespiary.{field}", [_numbers(endpoints, field, key)], unit=unit, description=text
        )
    for field, (unit, text) in _NOW.items():
        meter.create_observable_up_down_counter(
            f"vespiary.{field}", [_numbers(endpoints, field)], unit=unit, description=text
        )


def _numbers(endpoints: _Endpoints, field: str, key: str | None = None) -> Callback:
    """Return what reads one counter of all endpoints."""

    def read(options: CallbackOptions) -> Iterator[Observation]:
        for endpoint in endpoints.read():
            attributes: dict[str, Any] = {"vespiary.endpoint": endpoint.url}
            value = getattr(endpoint, field)
            if key is None:
                yield Observation(value, attributes)
                continue
            for reason, number in value.items():
                yield Observation(number, {**attributes, f"vespiary.{key}": reason})

    return read


class _Endpoints:
    """Reads the counters in the server's loop; readers collect in a thread of their own."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._silent_until = 0.0

    def read(self) -> tuple[EndpointStatistics, ...]:
        """The counters of each endpoint; nothing of a server that does not run or is blocked."""
        found: Future[tuple[EndpointStatistics, ...]] = Future()

        def read() -> None:
            found.set_result(self._server.statistics().endpoints)

        if _is_in_loop():
            read()
            return found.result()
        if time.monotonic() < self._silent_until:
            return ()
        try:
            self._server.call_soon_threadsafe(read)
            return found.result(_SECONDS_MAX)
        except TimeoutError:
            self._silent_until = time.monotonic() + _SILENT_SECONDS
        except RuntimeError:
            pass  # It does not run.
        return ()


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
