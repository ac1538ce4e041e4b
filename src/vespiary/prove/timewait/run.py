"""Look at an interval until something ends it: the first alarm, a time, or the caller."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vespiary.prove.timewait.monitor import Monitor
from vespiary.prove.timewait.report import Report

__all__ = ["Outcome", "Plan", "Sink", "watch"]

Sink = Callable[[Report], None]
"""Is called with each report."""


@dataclass(frozen=True)
class Plan:
    """How long, and how often.

    Attributes:
        interval_seconds: From the beginning of a look to that of the next.
        duration_seconds: The last look is after this time; None for no end, 0 for one look.
        keep_going: Whether the first alarm does not end it.
    """

    interval_seconds: float = 1.0
    duration_seconds: float | None = None
    keep_going: bool = False


@dataclass(frozen=True)
class Outcome:
    """The end of a run.

    Attributes:
        report: The last one.
        alarmed: Whether any report had an alarm.
    """

    report: Report
    alarmed: bool


def watch(
    monitor: Monitor, plan: Plan, sinks: Sequence[Sink], *, is_over: Callable[[], bool]
) -> Outcome:
    """Look until the time is over, an alarm is reached, `is_over`, or Ctrl-C.

    Raises:
        WatchError: The sockets cannot be read.
    """
    began = time.monotonic()
    looks, alarmed = 0, False
    report = None
    try:
        while True:
            last = is_over() or _is_past(plan, began)
            report = monitor.report()
            looks += 1
            for sink in sinks:
                sink(report)
            alarmed = alarmed or bool(report["alarms"])
            if last or (alarmed and not plan.keep_going):
                break
            _wait(monitor, began + looks * plan.interval_seconds, is_over)
    except KeyboardInterrupt:
        if report is None:
            raise
    return Outcome(report, alarmed)


_POLL_SECONDS = 0.1


def _wait(monitor: Monitor, until: float, is_over: Callable[[], bool]) -> None:
    """Wait for the next look; what `is_over` says is noticed within a tenth of a second."""
    while (left := until - time.monotonic()) > 0 and not is_over():
        monitor.wait(min(left, _POLL_SECONDS))


def _is_past(plan: Plan, began: float) -> bool:
    duration = plan.duration_seconds
    return duration is not None and time.monotonic() - began >= duration
