"""The counters of a platform in the formats that Prometheus reads, by prometheus-client."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from vespiary.statistics import CompressionStatistics, EndpointStatistics

if TYPE_CHECKING:
    from vespiary.wasp.platform import Platform, Reloads

__all__ = ["Metrics"]

_GAUGES = ("connections_open", "connections_finishing", "handshakes_pending", "memory_bytes")
_LABELS = {
    "connections_refused": "reason",
    "requests_answered": "status",
    "datagrams_dropped": "reason",
    "datagram_errors": "error",
    "limits_reached": "limit",
    "accept_errors": "error",
}
"""Counters that are divided, and by what."""

_OWN = ["endpoint", "url"]


class Metrics:
    """Writes the metrics of a platform."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def written(self, accept: str | None) -> tuple[bytes, str]:
        """The metrics, and their content type: OpenMetrics, or Prometheus' own older format."""
        encoder, content_type = choose_encoder(accept or "")
        write = cast("Callable[[CollectorRegistry], bytes]", encoder)
        return write(self._registry), content_type

    def describe(self) -> list[Metric]:
        """Nothing is collected before the server runs."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics, as they are now."""
        endpoints = list(self._platform.operations.statistics())
        for item in fields(EndpointStatistics):
            if item.name in _LABELS:
                yield _divided(item.name, endpoints)
            elif item.name not in ("url", "compression"):
                yield _family(item.name, endpoints, attrgetter(item.name))
        for item in fields(CompressionStatistics):
            yield _family(
                f"compression_{item.name}",
                endpoints,
                attrgetter(f"compression.{item.name}"),
            )
        yield from self._of_platform()

    def _of_platform(self) -> Iterator[Metric]:
        platform = self._platform
        statistics = platform.server.statistics()
        yield _gauge("running_seconds", "Seconds since the start.", statistics.running_seconds)
        if platform.configuration.workers is None:
            yield from _of_reloads(platform.reloads)
        for item in fields(statistics.topics):
            value = getattr(statistics.topics, item.name)
            name = f"topics_{item.name}".replace("topics_topics", "topics")
            kind = _counter if item.name in _TOPIC_COUNTERS else _gauge
            yield kind(name, item.name.replace("_", " "), value)
        if statistics.workers:
            started = CounterMetricFamily(
                "vespiary_worker_processes_started", "Processes of a worker.", labels=["worker"]
            )
            for worker in statistics.workers:
                started.add_metric([str(worker.number)], worker.processes_started)
            yield started


def _of_reloads(reloads: Reloads) -> Iterator[Metric]:
    yield _counter("reloads", "Reloads of the configuration that succeeded.", reloads.succeeded)
    yield _counter("reloads_failed", "Reloads that failed.", reloads.failed)
    yield _gauge(
        "last_reload_successful",
        "Whether the latest reload succeeded; 1 before the first.",
        reloads.last_error is None,
    )


_TOPIC_COUNTERS = ("published", "deliveries", "retained_refused")


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"vespiary_{name}", text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"vespiary_{name}", text, value=float(value))


def _family(
    name: str,
    endpoints: list[tuple[str, EndpointStatistics]],
    value: Callable[[EndpointStatistics], Any],
) -> Metric:
    is_gauge = name.removeprefix("compression_") in _GAUGES
    kind = GaugeMetricFamily if is_gauge else CounterMetricFamily
    family = kind(f"vespiary_{name}", name.replace("_", " "), labels=_OWN)
    for endpoint, statistics in endpoints:
        family.add_metric([endpoint, statistics.url], value(statistics))
    return family


def _divided(name: str, endpoints: list[tuple[str, EndpointStatistics]]) -> Metric:
    labels = [*_OWN, _LABELS[name]]
    family = CounterMetricFamily(f"vespiary_{name}", name.replace("_", " "), labels=labels)
    for endpoint, statistics in endpoints:
        counts: Mapping[str, int] = getattr(statistics, name)
        for label, count in counts.items():
            family.add_metric([endpoint, statistics.url, label], count)
    return family
