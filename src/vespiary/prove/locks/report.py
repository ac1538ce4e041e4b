"""Report an outcome: as text for people, and as an object for programs."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from vespiary._counted import counted
from vespiary.prove.locks.outcome import Outcome
from vespiary.prove.locks.paint import PLAIN, Paint

if TYPE_CHECKING:
    from vespiary.prove.locks.findings import Finding

__all__ = ["as_json", "as_text"]

_PROCESSES_MAX = 3


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The object that `--json` writes: `findings` and `coverage`."""
    coverage = outcome.coverage
    return {
        "status": outcome.status,
        "findings": [finding.as_json() for finding in outcome.findings],
        "coverage": {
            "processes": coverage.processes,
            "locks": coverage.locks,
            "operations": coverage.operations,
            "orders": coverage.orders,
            "lost": coverage.lost,
            "notes": coverage.notes,
            "gaps": [
                {"kind": gap.kind, "what": gap.what, "why": gap.why, "processes": count}
                for gap, count in sorted(coverage.gaps.items())
            ],
            "lockless": coverage.lockless,
        },
        "statistics": _statistics(outcome),
        "cores": [core.as_json() for core in outcome.cores],
    }


def as_text(outcome: Outcome, paint: Paint = PLAIN, told_before: Collection[str] = ()) -> str:
    """The report that ends a run; what was reported earlier, by signature, has its title only."""
    coverage = outcome.coverage
    told = [finding for finding in outcome.findings if finding.is_told]
    lines = _findings(told, paint, told_before)
    information = len(outcome.findings) - len(told)
    what = counted(len(told), "finding")
    if information:
        what += f", {information} for information (--verbose shows them)"
    if not told and coverage.notes:
        what += " in what was covered"
    lines.append(
        f"vespiary locks: {what}; {counted(coverage.processes, 'process', 'processes')},"
        f" {counted(coverage.locks, 'lock')}, {coverage.operations:,} taken,"
        f" {counted(coverage.orders, 'order')}"
    )
    lines.extend(f"  not covered: {note}" for note in coverage.notes)
    if coverage.lockless:
        programs = (f"{name} ({count})" for name, count in sorted(coverage.lockless.items()))
        lines.append(f"  watched, and took no lock: {', '.join(programs)}")
    lines.extend(f"  {core}" for core in outcome.cores)
    lines += _figures(outcome)
    return "\n".join(lines)


def _findings(told: list[Finding], paint: Paint, told_before: Collection[str]) -> list[str]:
    if not told:
        return []
    from vespiary.prove.locks.rendering import finding_text, finding_title

    # The same deadlock may be found in several processes.
    again = (finding for finding in told if finding.signature in told_before)
    titles = dict.fromkeys(f"{finding_title(finding, paint)} (reported above)" for finding in again)
    new = (finding for finding in told if finding.signature not in told_before)
    return [*titles, *(finding_text(finding, paint) for finding in new)]


def _statistics(outcome: Outcome) -> list[dict[str, Any]]:
    if not outcome.statistics:
        return []
    from vespiary.prove.locks import statistics

    return [statistics.as_json(each) for each in outcome.statistics]


def _figures(outcome: Outcome) -> list[str]:
    """Of the full mode, for the processes that took the most locks."""
    if not outcome.statistics:
        return []
    from vespiary.prove.locks.figures import figures

    lines: list[str] = []
    kept = [each for each in outcome.statistics if each.acquisitions]
    busiest = sorted(kept, key=lambda each: -each.acquisitions)
    for each in busiest[:_PROCESSES_MAX]:
        lines += figures(each)
    if len(busiest) > _PROCESSES_MAX:
        rest = len(busiest) - _PROCESSES_MAX
        more = counted(rest, "more process", "more processes")
        lines += ["", f"  ... {more} with fewer (--json or --html has all)"]
    return lines
