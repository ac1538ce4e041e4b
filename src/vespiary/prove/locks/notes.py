"""What processes have noted about themselves: see `crates/lockwatch/src/notes.rs`.

The library notes that it was loaded into a process, and each execution of a program. If an
execution is not followed by the note that the library was loaded into the same process, the new
program was not watched. If the process writes any other note after an execution, the call has
failed.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

__all__ = ["Execution", "Note", "loaded", "notes", "unanswered"]

_LOADED, _EXECUTED = "L", "X"
_FIELDS = 5


class Note(NamedTuple):
    """A note.

    Attributes:
        kind: `L` loaded, `X` executed, `F` failed to, `M` loaded objects, `P` an interpreter, `U`
            something of it was used.
        pid: The process that it is about.
        time: Nanoseconds of CLOCK_MONOTONIC.
        flags: `e` with an execution: the environment does not have what watching takes; `i` with
            an interpreter: its locks' methods were not found.
        text: What the kind says.
    """

    kind: str
    pid: int
    time: int
    flags: str
    text: str


class Execution(NamedTuple):
    """A program that was executed, or seen to run, and is not watched."""

    pid: int
    program: str
    is_stripped: bool = False
    """Its environment was without what watching takes."""
    is_confined: bool = False
    """It has another root folder, in which it cannot make a record."""


def notes(folder: Path) -> list[Note]:
    """The notes of a run, in the order of writing."""
    try:
        data = (folder / "notes").read_bytes()
    except OSError:
        return []
    found = []
    for line in data.split(b"\0")[:-1]:
        fields = line.decode(errors="surrogateescape").split(" ", _FIELDS - 1)
        if len(fields) == _FIELDS and fields[1].isdigit() and fields[2].isdigit():
            kind, pid, time, flags, text = fields
            found.append(Note(kind, int(pid), int(time), flags, text))
    return found


def loaded(found: Iterable[Note]) -> dict[int, list[Note]]:
    """The notes of processes into which the library came, by process."""
    answers = defaultdict(list)
    for note in found:
        if note.kind == _LOADED:
            answers[note.pid].append(note)
    return answers


def unanswered(found: Iterable[Note], root: int, program: str) -> list[Execution]:
    """Executions into which the library did not come.

    Args:
        found: The notes.
        root: The run's first process, of whose execution nobody could make a note.
        program: And what it executed.
    """
    by_process = defaultdict(list, {root: [Note(_EXECUTED, root, 0, "-", program)]})
    for note in found:
        by_process[note.pid].append(note)
    left = []
    for pid, of_process in by_process.items():
        # A parent's note of a child may be written after the child's own.
        of_process.sort(key=lambda note: note.time)
        last = of_process[-1]
        if last.kind == _EXECUTED:
            left.append(Execution(pid, os.path.normpath(last.text), "e" in last.flags))
    return left
