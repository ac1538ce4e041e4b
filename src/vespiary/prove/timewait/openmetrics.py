"""The last report as metrics, for Prometheus and everything else that reads OpenMetrics.

Processes are labelled by their names and not by their numbers, so that the number of series stays
bounded.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from vespiary.prove.metrics import served
from vespiary.prove.timewait.report import BudgetReport, Report

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["Exporter", "exported"]

_ROWS_MAX = 50
"""Series of processes and of budgets, at most."""

_BUDGET = ("namespace", "source", "destination", "port")


class Exporter:
    """Keeps the last report, and turns it into metrics when they are asked for."""

    def __init__(self) -> None:
        self._report: Report | None = None

    def __call__(self, report: Report) -> None:
        """Take the place of the report before."""
        self._report = report

    def collect(self) -> Iterable[Metric]:
        """All metrics of the last report."""
        report = self._report
        if report is None:
            return
        yield from _sockets(report)
        yield from _budgets(report["budgets"])
        yield from _kernel(report)
        yield from _watching(report)


def _sockets(report: Report) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    sockets = GaugeMetricFamily(
        "vespiary_tcp_sockets", "TCP sockets by state.", labels=["namespace", "family", "state"]
    )
    for namespace in report["namespaces"]:
        for family, states in (("ipv4", namespace["ipv4"]), ("ipv6", namespace["ipv6"])):
            for state, count in states.items():
                sockets.add_metric([namespace["name"], family, state], count)
    yield sockets
    by_process = GaugeMetricFamily(
        "vespiary_tcp_process_sockets",
        "TCP sockets of the processes that hold or closed them; '' where that is not known.",
        labels=["namespace", "process", "state"],
    )
    counts: Counter[tuple[str, str, str]] = Counter()
    for owner in report["owners"][:_ROWS_MAX]:
        for state, count in owner["states"].items():
            counts[owner["namespace"], owner["process"] or "", state] += count
    for labels, count in counts.items():
        by_process.add_metric(list(labels), count)
    yield by_process
    closed = GaugeMetricFamily(
        "vespiary_tcp_closed_first",
        "TCP sockets that are closing or closed, by the side that closed first.",
        labels=["side"],
    )
    sides = report["closed"]
    closed.add_metric(["here_as_client"], sides["here_as_client"])
    closed.add_metric(["here_as_server"], sides["here_as_server"])
    closed.add_metric(["by_peer"], sides["by_peer"])
    yield closed


def _budgets(budgets: list[BudgetReport]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    ports = GaugeMetricFamily(
        "vespiary_tcp_local_ports", "Local ports that there are for a destination.", labels=_BUDGET
    )
    used = GaugeMetricFamily(
        "vespiary_tcp_local_ports_used", "Local ports in use for a destination.", labels=_BUDGET
    )
    cliff = GaugeMetricFamily(
        "vespiary_tcp_cliff_seconds",
        "Time until connecting gets slow; infinite if that is not expected.",
        labels=_BUDGET,
    )
    exhaustion = GaugeMetricFamily(
        "vespiary_tcp_exhaustion_seconds",
        "Time until no local port is left; infinite if that is not expected.",
        labels=_BUDGET,
    )
    for it in budgets[:_ROWS_MAX]:
        if it["used"] < 2:
            continue
        labels = [it["namespace"], it["source"], it["destination"], str(it["port"])]
        ports.add_metric(labels, it["ports"])
        used.add_metric(labels, it["used"])
        cliff.add_metric(labels, _or_infinite(it["cliff_seconds"]))
        exhaustion.add_metric(labels, _or_infinite(it["exhaustion_seconds"]))
    yield from (ports, used, cliff, exhaustion)


def _or_infinite(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds


def _kernel(report: Report) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    counters = CounterMetricFamily(
        "vespiary_tcp_kernel",
        "Counters of /proc/net/netstat and snmp, by the kernel's names.",
        labels=["namespace", "counter"],
    )
    limit = GaugeMetricFamily(
        "vespiary_tcp_time_wait_max", "tcp_max_tw_buckets.", labels=["namespace"]
    )
    for namespace in report["namespaces"]:
        for name, count in namespace["counters"].items():
            if name != "CurrEstab":
                counters.add_metric([namespace["name"], name], count)
        buckets = namespace["settings"].get("net.ipv4.tcp_max_tw_buckets")
        if buckets is not None:
            limit.add_metric([namespace["name"]], float(buckets))
    yield from (counters, limit)


def _watching(report: Report) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    known = report["attribution"]
    if known["coverage"] is not None:
        yield GaugeMetricFamily(
            "vespiary_tcp_time_wait_coverage",
            "Share of the sockets in TIME_WAIT since the start whose closer is known.",
            value=known["coverage"],
        )
    yield GaugeMetricFamily(
        "vespiary_tcp_look_seconds",
        "What one look at the kernel's sockets cost.",
        value=report["cost_milliseconds"]["total"] / 1000,
    )


@contextlib.contextmanager
def exported(address: str) -> Iterator[Exporter]:
    """Serve metrics at `[HOST:]PORT` for the time of the block; the host is 127.0.0.1 by default.

    Raises:
        ConfigurationError: The address is wrong or is taken, or prometheus-client is missing.
    """
    exporter = Exporter()
    with served(address, exporter):
        yield exporter
