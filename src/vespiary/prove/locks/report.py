"""Tells an outcome: as text for a person, and as an object for programs."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from vespiary._counted import counted
from vespiary.prove.locks import drawing, sources
from vespiary.prove.locks.findings import NOTHING, Finding, Step
from vespiary.prove.locks.kinds import GIL
from vespiary.prove.locks.paint import PLAIN, Paint
from vespiary.prove.locks.places import Frame
from vespiary.prove.locks.run import Outcome

__all__ = ["as_json", "as_text", "finding_text", "stack_lines"]

_FRAMES_MAX = 8
_MADE_MAX = 3
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
    lines = [
        f"{_title(finding, paint)} (reported above)"
        if finding.signature in told_before
        else finding_text(finding, paint)
        for finding in told
    ]
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


def finding_text(finding: Finding, paint: Paint = PLAIN) -> str:
    """One finding: what, the circle, each thread's part with its stack, what to change."""
    lines = [_title(finding, paint)]
    if drawing.has_circle(finding):
        lines += ["", *drawing.text(finding.steps, paint, finding.by_class)]
    for lock in finding.locks:
        if lock.kind == GIL:
            lines += ["", f"  {paint.lock(lock.name)}, the interpreter's own lock"]
            continue
        if not lock.made:
            lines += ["", f"  {paint.lock(lock.name)}"]
            continue
        verb = "made" if lock.is_made else "first taken"
        lines += ["", f"  {paint.lock(lock.name)}, {verb} at"]
        lines += stack_lines(lock.made, _MADE_MAX, paint)
    for step in finding.steps:
        lines += ["", *_step(step, paint)]
    if finding.sets > 1:
        lines += ["", f"  found with {finding.sets} different sets of locks; this is the first"]
    advice = textwrap.fill(
        f"What to change: {finding.advice}.",
        paint.columns,
        initial_indent="  ",
        subsequent_indent="    ",
    )
    lines += ["", advice, ""]
    return "\n".join(lines)


def _title(finding: Finding, paint: Paint) -> str:
    return f"{paint.bad(finding.kind.upper())} {finding.signature}: {finding.title}"


def _step(step: Step, paint: Paint) -> list[str]:
    if step.holds == NOTHING:
        lines = [f"  {paint.thread(step.thread)} wants {paint.lock(step.wants)} at"]
        return lines + stack_lines(step.wanted_at, _FRAMES_MAX, paint)
    if step.is_event:
        lines = [f"  {paint.thread(step.thread)}, with {paint.lock(step.holds)}, at"]
        return lines + stack_lines(step.wanted_at, _FRAMES_MAX, paint)
    lines = [f"  {paint.thread(step.thread)} holds {paint.lock(step.holds)}"]
    if step.taken_at:
        lines += ["    taken at", *_taken(step, paint)]
    if step.does:
        lines += [f"    and {step.does}{', at' if step.wanted_at else ''}"]
        return lines + (stack_lines(step.wanted_at, _FRAMES_MAX, paint) if step.wanted_at else [])
    if step.wants == NOTHING:
        return lines
    how = " shared" if step.shared else ""
    lines += [f"    and wants {paint.lock(step.wants)}{how} at"]
    return lines + stack_lines(step.wanted_at, _FRAMES_MAX, paint)


def _taken(step: Step, paint: Paint) -> list[str]:
    """Where a lock was taken: where only the library's part is known, what it was called in."""
    if any(not sources.is_folded(frame) for frame in step.taken_at):
        return stack_lines(step.taken_at, _FRAMES_MAX, paint)
    own = next((frame for frame in step.wanted_at if not sources.is_folded(frame)), None)
    if own is None:
        return stack_lines(step.taken_at, _FRAMES_MAX, paint)
    where = f" ({_short(own.file)})" if own.file else ""
    return [f"      {own.function}{where}, or what it has called before"]


def stack_lines(frames: Sequence[Frame], most: int, paint: Paint = PLAIN) -> list[str]:
    """A stack, a line per frame, with the line of source where it can be read.

    Frames of the C++ library are folded, so that the program's own are among those shown.
    """
    frames = sources.own(frames)
    own = [frame for frame in frames if not sources.is_folded(frame)]
    if frames and not own:
        return ["      (within the C++ library; --full keeps the whole stack)"]
    lines: list[str] = []
    for frame in own[:most]:
        lines.append(f"      {_near(frame)}")
        source = sources.line(frame)
        if source:
            lines.append("        " + paint.faint(_fit(source, paint.columns - 8)))
    if len(own) > most:
        lines.append(paint.faint(f"      ... {len(own) - most} more"))
    return lines or ["      (no stack was kept)"]


def _near(frame: Frame) -> str:
    """A frame with its file as seen from here, if that is shorter."""
    if frame.file is None:
        return str(frame)
    return f"{frame.function} ({_short(frame.file)}:{frame.line})"


def _short(file: str) -> str:
    with contextlib.suppress(ValueError):
        return str(Path(file).relative_to(Path.cwd()))
    return file


def _fit(source: str, columns: int) -> str:
    return source if len(source) <= columns else source[: columns - 3] + "..."
