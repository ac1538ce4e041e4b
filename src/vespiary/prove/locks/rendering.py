"""A finding as text: the circle, each thread's part with its stack, what to change."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Sequence
from pathlib import Path

from vespiary.prove.locks import drawing, sources
from vespiary.prove.locks.findings import NOTHING, Finding, Step
from vespiary.prove.locks.kinds import GIL
from vespiary.prove.locks.paint import PLAIN, Paint
from vespiary.prove.locks.places import Frame

__all__ = ["finding_text", "finding_title", "stack_lines"]

_FRAMES_MAX = 8
_MADE_MAX = 3


def finding_text(finding: Finding, paint: Paint = PLAIN) -> str:
    """One finding: what, the circle, each thread's part with its stack, what to change."""
    lines = [finding_title(finding, paint)]
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


def finding_title(finding: Finding, paint: Paint) -> str:
    """The first line: what it is, its signature, what happened."""
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
