"""The progress of a run as metrics, for Prometheus and everything else that reads OpenMetrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from vespiary.prove.load.report import FAULT_COUNTS, Progress

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["Exporter"]

_COUNTERS: Final = (
    ("connections", "connected", "Connections that were opened."),
    ("messages_sent", "sent", "Messages that were sent."),
    ("messages_received", "received", "Messages that came back."),
    ("bytes_sent", "bytes_sent", "Bytes that were sent, with framing and handshakes."),
    ("bytes_received", "bytes_received", "Bytes that came, with framing and handshakes."),
)


class Exporter:
    """Keeps the last progress, and turns it into metrics when they are asked for."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """Take the place of the progress before."""
        self._progress = progress

    def collect(self) -> Iterable[Metric]:
        """All metrics of the last progress."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        progress = self._progress
        if progress is None:
            return
        for name, attribute, text in _COUNTERS:
            yield CounterMetricFamily(
                f"vespiary_load_{name}", text, value=getattr(progress, attribute)
            )
        faults = CounterMetricFamily("vespiary_load_faults", "Faults by kind.", labels=["kind"])
        for kind in FAULT_COUNTS:
            faults.add_metric([kind], getattr(progress, kind))
        yield faults
        latency = GaugeMetricFamily(
            "vespiary_load_latency_seconds",
            "Latency of the messages that came back in the last 0.1 s.",
            labels=["quantile"],
        )
        for quantile, seconds in (
            ("0.5", progress.p50),
            ("0.9", progress.p90),
            ("0.99", progress.p99),
        ):
            latency.add_metric([quantile], seconds)
        yield latency
        yield GaugeMetricFamily(
            "vespiary_load_seconds", "Since the first message.", value=progress.sending_seconds
        )
