"""A run for people: what happened, how much was used, by whom, and whether it grows."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from vespiary._counted import counted
from vespiary.prove.memory.outcome import Outcome
from vespiary.prove.memory.record import ProcessRecord
from vespiary.prove.memory.trend import CONFIDENCE, Slope, Trend
from vespiary.prove.quantities import size_text

__all__ = ["as_text", "trend_text"]

_METHODS = {
    "cgroup-v2": "a control group (version 2)",
    "cgroup-v1": "a control group (version 1)",
    "systemd": "a systemd scope",
    "sampling": "sampling",
}
_COMMAND_COLUMNS = 60


def as_text(outcome: Outcome) -> str:
    """The report, the verdict first."""
    measured = outcome.measured
    record = measured.record
    lines = [f"vespiary memory: {_verdict(outcome)}"]
    limit = "no limit" if measured.limit is None else f"limit {size_text(measured.limit)}"
    lines.append(
        f"  peak     {size_text(record.peak)} after {record.peak_seconds:.1f} s; {limit}, by"
        f" {_METHODS[measured.method]}"
    )
    if measured.limit is not None:
        lines += [f"           not by {name}: {why}" for name, why in measured.refusals.items()]
    lines.append(f"  growth   {trend_text(outcome.trend)}")
    if outcome.trend.per_unit is not None:
        lines.append(f"           {_slope(outcome.trend.per_unit)} per unit of work")
    for each in outcome.comparisons:
        lines.append(f"  {each.what:<8} {each.result}: {each.text}")
        if each.result == "below":
            lines.append("           less than expected: --learn updates the file")
    if measured.exceeded is not None:
        ago = max(0.0, measured.exceeded.seconds - measured.exceeded.looked_seconds)
        lines.append(f"  the biggest processes, {ago * 1000:.0f} ms before:")
        lines += _processes(measured.exceeded.biggest)
    if measured.left_behind:
        lines.append("  outlived the command, and were ended (--linger):")
        lines += _processes(measured.left_behind)
    if record.processes_omitted:
        omitted = counted(record.processes_omitted, "more process was", "more processes were")
        lines.append(f"  {omitted} not recorded one by one")
    if measured.work_malformed:
        malformed = counted(
            measured.work_malformed,
            "report of work is not a number",
            "reports of work are not numbers",
        )
        lines.append(f"  {malformed}")
    lines += outcome.allocations
    return "\n".join(lines)


def _verdict(outcome: Outcome) -> str:
    measured = outcome.measured
    status = measured.status
    if measured.exceeded is not None:
        assert measured.limit is not None
        exceeded = measured.exceeded
        return (
            f"LIMIT EXCEEDED: more than {size_text(measured.limit)} after {exceeded.seconds:.1f} s;"
            f" everything was ended within {exceeded.ending_seconds * 1000:.0f} ms"
        )
    if measured.is_keeper_lost:
        return "ABORTED: the process that watched the program was killed, so everything was ended"
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"the program was ended by {name}{_outside(outcome)}"
    if status > 0:
        return f"the program failed with exit code {status}"
    wrong = [each.what for each in outcome.comparisons if each.result == "above"]
    if wrong:
        return f"MORE THAN EXPECTED: {' and '.join(wrong)}"
    if outcome.result == "not-judged":
        return "NOT JUDGED: what is expected cannot be compared with this run"
    return "passed"


def _outside(outcome: Outcome) -> str:
    """Whether it may have been the machine's memory that ran out."""
    counts = outcome.measured.details.get("kills")
    if outcome.measured.status == -signal.SIGKILL and counts:
        return ", because the memory of the machine or of a group around it was exhausted"
    return ""


def trend_text(trend: Trend) -> str:
    """What is known of growth, in a line."""
    if trend.per_second is None:
        return f"{trend.verdict}: {trend.reason}"
    text = f"{trend.verdict}: {_slope(trend.per_second)} per second"
    if trend.verdict == "unclear":
        text += f"; {trend.reason}"
    return f"{text}; the first {trend.warm_up_seconds:.1f} s were not counted (warm-up)"


def _slope(slope: Slope) -> str:
    low, high = size_text(slope.low), size_text(slope.high)
    return f"{size_text(slope.estimate)} ({low} to {high}, {CONFIDENCE:.0%})"


def _processes(processes: Sequence[ProcessRecord]) -> list[str]:
    return [
        f"    {size_text(each.last.used):>10}  {each.pid:>7}  {each.command[:_COMMAND_COLUMNS]}"
        for each in processes
    ]
