"""Metrics served for Prometheus and everything else that reads OpenMetrics.

prometheus-client serves them, which is an extra (`pip install vespiary[metrics]`).
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from vespiary.errors import ConfigurationError

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["Collector", "served"]


class Collector(Protocol):
    """Is asked for the metrics."""

    def collect(self) -> Iterable[Metric]:
        """All of them, as they are now."""


@contextlib.contextmanager
def served(address: str, collector: Collector) -> Iterator[None]:
    """Serve metrics at `[HOST:]PORT` for the time of the block; the host is 127.0.0.1 by default.

    Raises:
        ConfigurationError: The address is wrong or is taken, or prometheus-client is missing.
    """
    host, port = _parsed(address)
    try:
        client = importlib.import_module("prometheus_client")
    except ImportError:
        raise ConfigurationError(
            "--openmetrics needs prometheus-client: pip install 'vespiary[metrics]'",
            subject="--openmetrics",
        ) from None
    registry = client.CollectorRegistry()
    registry.register(collector)
    try:
        server, thread = client.start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise ConfigurationError(
            f"metrics cannot be served at {host}:{port}: {error.strerror}",
            subject="--openmetrics",
            value=address,
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _parsed(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigurationError(
            f"{address!r} is not a port such as 9187, or an address such as 0.0.0.0:9187",
            subject="--openmetrics",
            value=address,
        )
    return host.strip("[]") or "127.0.0.1", int(port)
