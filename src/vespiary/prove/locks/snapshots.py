"""Report what was found in a running process: as text, and as an object for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vespiary._counted import counted
from vespiary.prove.locks.attach import Snapshot, Waiting
from vespiary.prove.locks.places import Frame
from vespiary.prove.locks.rendering import finding_text

__all__ = ["as_json", "as_text"]

_SHOWN_MAX = 32
_FRAMES_MAX = 4
_LIBRARIES = ("libc.so", "libc-", "libpthread", "ld-linux", "ld-musl", "_lockwatch.so")


def as_text(seen: Snapshot) -> str:
    """Which threads wait for which others."""
    known = [each for each in seen.waiting if each.owners]
    others = len(seen.waiting) - len(known)
    where = ", runs under the detector" if seen.is_recorded else ""
    lines = [
        f"process {seen.pid} ({Path(seen.program).name}{where}): "
        f"{counted(seen.threads, 'thread')}, {len(known)} waiting for a known owner,"
        f" {others} for something without one; looked at in {seen.seconds * 1000:.1f} ms"
    ]
    ordered = [*known, *(each for each in seen.waiting if not each.owners)]
    for each in ordered[:_SHOWN_MAX]:
        lines += _waiting(each, seen)
    if len(ordered) > _SHOWN_MAX:
        lines.append(f"  ... {len(ordered) - _SHOWN_MAX} more")
    lines.extend(f"  not seen: {note}" for note in seen.notes)
    for finding in seen.findings:
        lines += ["", finding_text(finding)]
    return "\n".join(lines)


def _waiting(each: Waiting, seen: Snapshot) -> list[str]:
    who = f"{each.name} ({each.tid})"
    if each.process != seen.pid:
        who += f" of process {each.process}"
    limited = " for a limited time" if each.is_limited else ""
    if each.owners:
        whose = " and ".join(_owner(owner, seen) for owner in each.owners)
        text = f"  {who} waits{limited} for the {each.lock}, held by {whose}"
        if each.kind == "end of a thread":
            text = f"  {who} waits{limited} for the end of {whose}"
        return [text]
    if each.gone is not None:
        return [f"  {who} waits for the {each.lock}, whose owner, thread {each.gone}, has ended"]
    if each.kind in ("condition", "barrier"):
        text = f"  {who} waits{limited} on a {each.lock}"
    else:
        text = f"  {who} waits{limited} for a lock whose owner is not recorded ({each.lock})"
    return [text, *_where(each.python or each.stack)]


def _where(frames: Sequence[Frame]) -> list[str]:
    """The innermost frames that are the program's own, in a line."""
    own = [frame for frame in frames if not frame.module.startswith(_LIBRARIES)]
    if not own:
        return []
    return [f"    at {' < '.join(str(frame) for frame in own[:_FRAMES_MAX])}"]


def _owner(tid: int, seen: Snapshot) -> str:
    name = next((each.name for each in seen.waiting if each.tid == tid), "")
    return f"{name} ({tid})" if name else f"thread {tid}"


def as_json(seen: Snapshot) -> dict[str, Any]:
    """The object that `attach --json` writes."""
    return {
        "pid": seen.pid,
        "program": seen.program,
        "threads": seen.threads,
        "seconds": seen.seconds,
        "recorded": seen.is_recorded,
        "waiting": [
            {
                "thread": each.tid,
                "name": each.name,
                "process": each.process,
                "kind": each.kind,
                "address": each.address,
                "owners": list(each.owners),
                "owner_ended": each.gone,
                "limited": each.is_limited,
                "stack": [_frame(frame) for frame in each.stack],
                "python": [_frame(frame) for frame in each.python],
            }
            for each in seen.waiting
        ],
        "circle": [each.tid for each in seen.circle],
        "findings": [finding.as_json() for finding in seen.findings],
        "coverage": {"notes": list(seen.notes)},
    }


def _frame(frame: Frame) -> dict[str, Any]:
    return {
        "function": frame.function,
        "module": frame.module,
        "file": frame.file,
        "line": frame.line,
    }
