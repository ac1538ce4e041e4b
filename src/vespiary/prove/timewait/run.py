"""Look at an interval until something ends it: the first alarm, a time, a program's end, Ctrl-C."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vespiary.prove.program import Program
from vespiary.prove.timewait.monitor import Monitor
from vespiary.prove.timewait.report import Alarm, Report

__all__ = ["Outcome", "Plan", "Sink", "note_alarms", "outcome_of", "watch"]

Sink = Callable[[Report], None]
"""Is called with each report."""

_STEP_SECONDS = 0.2
"""While a program runs, the tracepoint's buffers are emptied this often."""


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
        report: The last one; its alarms are all that were reached during the run.
        alarms: Those that were reached, as they were when they first were.
    """

    report: Report
    alarms: list[Alarm]


def watch(
    monitor: Monitor, plan: Plan, sinks: Sequence[Sink], program: Program | None = None
) -> Outcome:
    """Look until the time is over, an alarm is reached, a program has ended, or Ctrl-C.

    Args:
        monitor: What looks.
        plan: How often, and how long.
        sinks: Are called with each report.
        program: One that runs meanwhile; the last look comes after its end.

    Raises:
        WatchError: The sockets cannot be read.
    """
    began = time.monotonic()
    looks = 0
    reached: dict[str, Alarm] = {}
    report = None
    try:
        while True:
            last = _is_over(plan, began, program)
            report = monitor.report()
            looks += 1
            for sink in sinks:
                sink(report)
            note_alarms(reached, report)
            if last or (reached and not plan.keep_going):
                break
            _wait(monitor, began + looks * plan.interval_seconds, program)
    except KeyboardInterrupt:
        if report is None:
            raise
    return outcome_of(report, reached)


def outcome_of(report: Report, reached: dict[str, Alarm]) -> Outcome:
    """The outcome, with the alarms of the whole run in its report."""
    report["alarms"] = list(reached.values())
    return Outcome(report, report["alarms"])


def note_alarms(reached: dict[str, Alarm], report: Report) -> None:
    """Add the alarms of a report that no earlier one had."""
    for alarm in report["alarms"]:
        reached.setdefault(alarm["alarm"], alarm)


def _is_over(plan: Plan, began: float, program: Program | None) -> bool:
    if program is not None and program.status is not None:
        return True
    duration = plan.duration_seconds
    return duration is not None and time.monotonic() - began >= duration


def _wait(monitor: Monitor, until: float, program: Program | None) -> None:
    """Wait for the next look, or for the program's end."""
    while (left := until - time.monotonic()) > 0:
        if program is None:
            monitor.wait(left)
        elif program.wait(min(left, _STEP_SECONDS)) is None:
            monitor.wait(0)
        else:
            return
