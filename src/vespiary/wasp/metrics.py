"""The counters of a platform in the formats that Prometheus reads, by prometheus-client.

Everything is read when the metrics are asked for. Only the histogram of the loop's delay works
before that, ten times per second (see `latency`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from vespiary._core import __version__
from vespiary.statistics import CompressionStatistics, EndpointStatistics
from vespiary.wasp.host_counters import host_counters
from vespiary.wasp.latency import BOUNDS_SECONDS

if TYPE_CHECKING:
    from vespiary.wasp.control import Control
    from vespiary.wasp.platform import Platform, Reloads

__all__ = ["Metrics"]

_GAUGES = ("connections_open", "connections_finishing", "handshakes_pending", "memory_bytes")
_LABELS = {
    "close_codes": "code",
    "connections_refused": "reason",
    "requests_answered": "status",
    "datagrams_dropped": "reason",
    "datagram_errors": "error",
    "limits_reached": "limit",
    "accept_errors": "error",
}
"""Counters that are divided, and by what."""

_OWN = ["endpoint", "url"]
_SUMMED = (
    "connections_accepted",
    "connections_open",
    "connections_broken",
    "messages_received",
    "messages_sent",
    "bytes_received",
    "bytes_sent",
    "protocol_errors",
    "handler_errors",
    "write_pauses",
)
"""What is also summed over the endpoints of a worker, and of a plug-in."""
_PROCESS_GAUGES = (
    "threads",
    "threads_busy",
    "calls_waiting",
    "timers_waiting",
    "cluster_connected",
    "cluster_nodes",
    "cluster_messages_waiting",
)
_TOPIC_COUNTERS = ("published", "deliveries", "retained_refused", "members_lost")
_UPSTREAM = (
    ("available", GaugeMetricFamily, "Whether a server behind a gateway is used."),
    ("active", GaugeMetricFamily, "Requests or connections in progress with a server."),
    ("requests", CounterMetricFamily, "Requests or connections passed on to a server."),
    ("failures", CounterMetricFamily, "Those that failed on the side of the server."),
)


class Metrics:
    """Writes the metrics of a platform."""

    def __init__(self, platform: Platform, control: Control) -> None:
        self._platform, self._control = platform, control

    async def written(self, accept: str | None) -> tuple[bytes, str]:
        """The metrics, and their content type: OpenMetrics, or Prometheus' own older format."""
        measures = await self._control.gathered("measures", {})
        registry = CollectorRegistry()
        registry.register(_Collected([*self._endpoints(), *self._rest(measures)]))
        encoder, content_type = choose_encoder(accept or "")
        write = cast("Callable[[CollectorRegistry], bytes]", encoder)
        return write(registry), content_type

    def _endpoints(self) -> Iterator[Metric]:
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
        plugins = self._platform.configuration.endpoints
        yield from _summed(
            "plugin",
            ((plugins[name].served_by, counted) for name, counted in endpoints),
        )
        serving = GaugeMetricFamily(
            "vespiary_endpoint_serving",
            "1 if the endpoint accepts connections, 0 if it is suspended or drained.",
            labels=["endpoint", "plugin"],
        )
        for name, state in self._platform.operations.states().items():
            serving.add_metric([name, plugins[name].served_by], float(state == "serving"))
        yield serving
        yield from self._of_upstreams()

    def _of_upstreams(self) -> Iterator[Metric]:
        """The servers behind gateways, as this process sees them."""
        found = [
            (name, one)
            for name, sites in self._platform.sites.items()
            if sites
            for one in getattr(sites[0].handler, "upstream_statistics", list)()
        ]
        for key, kind, text in _UPSTREAM if found else ():
            family = kind(f"vespiary_upstream_{key}", text, labels=["endpoint", "upstream"])
            for name, one in found:
                family.add_metric([name, one.url], float(getattr(one, key)))
            yield family

    def _rest(self, measures: list[tuple[int | None, Any]]) -> Iterator[Metric]:
        platform = self._platform
        statistics = platform.server.statistics()
        server = GaugeMetricFamily(
            "vespiary_server",
            "1; the labels say what runs.",
            labels=["version", "driver", "configuration"],
        )
        server.add_metric(
            [__version__, statistics.port.driver, str(platform.configuration.path)], 1.0
        )
        yield server
        yield _gauge("running_seconds", "Seconds since the start.", statistics.running_seconds)
        if platform.configuration.workers is None:
            yield from _of_reloads(platform.reloads)
        for item in fields(statistics.topics):
            value = getattr(statistics.topics, item.name)
            name = f"topics_{item.name}".replace("topics_topics", "topics")
            kind = _counter if item.name in _TOPIC_COUNTERS else _gauge
            yield kind(name, item.name.replace("_", " "), value)
        yield from _of_plugin_processes(platform)
        if statistics.workers:
            started = CounterMetricFamily(
                "vespiary_worker_processes_started", "Processes of a worker.", labels=["worker"]
            )
            for worker in statistics.workers:
                started.add_metric([str(worker.number)], worker.processes_started)
            yield started
            counted = platform.operations.worker_statistics()
            yield from _summed("worker", ((str(number), one) for number, _, one in counted))
        yield from _of_queues(measures)
        yield from _of_processes(measures)
        yield from _of_handlers(measures)
        yield from _of_host()


class _Collected:
    """Metrics that were collected already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def describe(self) -> list[Metric]:
        """Nothing is known before."""
        return []

    def collect(self) -> list[Metric]:
        """All of them."""
        return self._metrics


def _of_queues(measures: list[tuple[int | None, Any]]) -> Iterator[Metric]:
    counts: dict[str, list[int]] = {}
    for _, one in measures:
        for name, (count, waiting) in one["queues"].items():
            total = counts.setdefault(name, [0, 0])
            total[0] += count
            total[1] += waiting
    texts = ("Connections on which bytes wait to be sent.", "Bytes that wait to be sent.")
    for index, name in enumerate(("write_queue_connections", "write_queue_bytes")):
        family = GaugeMetricFamily(f"vespiary_{name}", texts[index], labels=["endpoint"])
        for endpoint, values in counts.items():
            family.add_metric([endpoint], values[index])
        yield family


def _of_processes(measures: list[tuple[int | None, Any]]) -> Iterator[Metric]:
    """What is measured in each process; the label is empty without workers."""
    delay = HistogramMetricFamily(
        "vespiary_loop_delay_seconds",
        "How late the event loop calls a timer: so long messages may wait for it.",
        labels=["worker"],
    )
    memory = GaugeMetricFamily(
        "vespiary_process_memory_bytes", "Resident memory of a process.", labels=["worker"]
    )
    others: dict[str, Metric] = {}
    for number, one in measures:
        label = "" if number is None else str(number)
        delay.add_metric([label], _buckets(one["loop"]), one["loop"]["sum"])
        memory.add_metric([label], one["memory_bytes"])
        for group in ("port", "threads", "timers", "cluster"):
            for item, value in one[group].items():
                name = item if item.startswith(group) else f"{group}_{item}"
                kind = GaugeMetricFamily if item in _PROCESS_GAUGES else CounterMetricFamily
                family = others.get(name)
                if family is None:
                    text = name.replace("_", " ")
                    family = others[name] = kind(f"vespiary_{name}", text, labels=["worker"])
                cast("GaugeMetricFamily", family).add_metric([label], value)
    yield delay
    yield memory
    yield from others.values()


def _of_handlers(measures: list[tuple[int | None, Any]]) -> Iterator[Metric]:
    family = HistogramMetricFamily(
        "vespiary_handler_seconds",
        "How long methods of handlers take, if admin.handler_seconds is true.",
        labels=["endpoint", "worker"],
    )
    for number, one in measures:
        for endpoint, values in one["handlers"].items():
            labels = [endpoint, "" if number is None else str(number)]
            family.add_metric(labels, _buckets(values), values["sum"])
    yield family


def _buckets(values: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The counts up to each bound, as Prometheus has them."""
    buckets: list[tuple[str, float]] = []
    seen = 0
    for bound, count in zip((*map(str, BOUNDS_SECONDS), "+Inf"), values["counts"], strict=True):
        seen += count
        buckets.append((bound, float(seen)))
    return buckets


_HOST = {
    "time_wait": "Sockets in TIME_WAIT in the network namespace, of all processes.",
    "time_wait_max": "So many sockets may be in TIME_WAIT; further ones are closed early.",
    "tcp_in_use": "TCP sockets in use in the network namespace.",
    "tcp_orphaned": "TCP sockets that no process has any more.",
    "local_ports": "Ports that outgoing connections may use.",
}


def _of_host() -> Iterator[Metric]:
    for name, value in host_counters().items():
        yield _gauge(f"host_{name}", _HOST[name], value)


def _of_plugin_processes(platform: Platform) -> Iterator[Metric]:
    """Of the processes of plug-ins that have one of their own."""
    started = CounterMetricFamily(
        "vespiary_plugin_processes_started", "Processes of a plug-in.", labels=["endpoint"]
    )
    serving = GaugeMetricFamily(
        "vespiary_plugin_process_serving", "Whether it serves.", labels=["endpoint"]
    )
    memory = GaugeMetricFamily(
        "vespiary_plugin_process_memory_bytes", "The memory that it uses.", labels=["endpoint"]
    )
    for name, host in platform.operations.hosts():
        facts = host.facts()
        started.add_metric([name], facts["processes_started"])
        serving.add_metric([name], facts["is_serving"])
        memory.add_metric([name], facts["memory_bytes"])
    yield from (started, serving, memory)


def _of_reloads(reloads: Reloads) -> Iterator[Metric]:
    yield _counter("reloads", "Reloads of the configuration that succeeded.", reloads.succeeded)
    yield _counter("reloads_failed", "Reloads that failed.", reloads.failed)
    yield _gauge(
        "last_reload_successful",
        "Whether the latest reload succeeded; 1 before the first.",
        reloads.last_error is None,
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"vespiary_{name}", text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"vespiary_{name}", text, value=float(value))


def _summed(label: str, counted: Iterable[tuple[str, EndpointStatistics]]) -> Iterator[Metric]:
    """The sums for each value of a label."""
    sums: dict[str, EndpointStatistics] = {}
    for value, statistics in counted:
        sums[value] = sums.get(value, EndpointStatistics()) + statistics
    for name in _SUMMED:
        kind = GaugeMetricFamily if name in _GAUGES else CounterMetricFamily
        text = f"{name.replace('_', ' ')} of a {label.replace('plugin', 'plug-in')}"
        family = kind(f"vespiary_{label}_{name}", text, labels=[label])
        for value, statistics in sums.items():
            family.add_metric([value], getattr(statistics, name))
        yield family


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
