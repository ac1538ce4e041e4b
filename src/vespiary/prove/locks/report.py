"""Tells an outcome: as text for a person, and as an object for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vespiary.prove.locks import statistics
from vespiary.prove.locks.figures import figures
from vespiary.prove.locks.findings import Finding, Step
from vespiary.prove.locks.places import Frame
from vespiary.prove.locks.record import GIL
from vespiary.prove.locks.run import Outcome

__all__ = ["as_json", "as_text", "finding_text", "stack_lines"]

_FRAMES_MAX = 8


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
        "statistics": [statistics.as_json(each) for each in outcome.statistics],
    }


def as_text(outcome: Outcome) -> str:
    """The report that ends a run."""
    coverage = outcome.coverage
    told = [finding for finding in outcome.findings if finding.is_told]
    lines = [finding_text(finding) for finding in told]
    information = len(outcome.findings) - len(told)
    what = f"{len(told)} finding{'s' * (len(told) != 1)}"
    if information:
        what += f", {information} for information (--verbose shows them)"
    lines.append(
        f"vespiary locks: {what}; {coverage.processes} processes, {coverage.locks} locks,"
        f" {coverage.operations:,} taken, {coverage.orders} orders"
    )
    lines.extend(f"  not covered: {note}" for note in coverage.notes)
    if coverage.lockless:
        programs = (f"{name} ({count})" for name, count in sorted(coverage.lockless.items()))
        lines.append(f"  watched, and took no lock: {', '.join(programs)}")
    for each in outcome.statistics:
        lines += figures(each)
    return "\n".join(lines)


def finding_text(finding: Finding) -> str:
    """One finding: what, the circle, each thread's part with its stack, what to change."""
    lines = [f"{finding.kind.upper()} {finding.signature}: {finding.title}"]
    if finding.kind in ("inversion", "deadlock", "information") and len(finding.steps) > 1:
        lines += ["", *_drawing(finding)]
    for lock in finding.locks:
        lines.append("")
        if lock.kind == GIL:
            lines.append(f"  {lock.name}, the interpreter's own lock")
            continue
        if not lock.made:
            lines.append(f"  {lock.name}")
            continue
        lines.append(f"  {lock.name}, made at")
        lines += stack_lines(lock.made, 3)
    for step in finding.steps:
        lines.append("")
        lines += _step(step)
    lines += ["", f"  What to change: {finding.advice}.", ""]
    return "\n".join(lines)


def _drawing(finding: Finding) -> Iterator[str]:
    width = max(len(step.holds) for step in finding.steps)
    for step in finding.steps:
        yield f"  {step.holds:<{width}}  --[{step.thread}]-->  {step.wants}"


def _step(step: Step) -> list[str]:
    lines = [f"  {step.thread} holds {step.holds}"]
    if step.held_since:
        lines += ["    taken at", *stack_lines(step.held_since, 1)]
    how = " shared" if step.shared else ""
    lines += [f"    and wants {step.wants}{how} at", *stack_lines(step.wanted_at, _FRAMES_MAX)]
    return lines


def stack_lines(frames: Sequence[Frame], most: int) -> list[str]:
    """A stack, a line a frame, with the line of source where it can be read."""
    lines = []
    for frame in frames[:most]:
        lines.append(f"      {frame}")
        source = _source(frame)
        if source:
            lines.append(f"        {source}")
    if len(frames) > most:
        lines.append(f"      ... {len(frames) - most} more")
    return lines or ["      (no stack was kept)"]


def _source(frame: Frame) -> str:
    """The line of source itself, where it can be read."""
    if frame.file is None or not frame.line:
        return ""
    try:
        lines = Path(frame.file).read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return lines[frame.line - 1].strip() if frame.line <= len(lines) else ""
