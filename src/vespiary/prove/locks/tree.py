"""The processes of a run, examined while they run.

The library's own notes report every program that a watched process executes. Programs that an
unwatched process starts are not noted. They are found by reading the tree of processes from time to
time, so a process that ends between two looks is missed.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vespiary.prove.locks.notes import Execution, Note
from vespiary.prove.locks.preload import LIBRARY

__all__ = ["Tree"]

_LOOK_SECONDS = 0.5
_MODULES_SECONDS = 2.0


@dataclass
class _Seen:
    program: str
    is_watched: bool
    looked: int
    """Nanoseconds of CLOCK_MONOTONIC."""
    is_hidden: bool = False
    """It may not be looked at: it has become another user, or another user's program."""
    is_confined: bool = False
    """It has the library and no record, and another root folder than ours."""


class Tree:
    """A process and all that come from it.

    Attributes:
        modules: The files that watched processes have loaded, by process.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._seen: dict[int, _Seen] = {}
        self._next = 0.0
        self.modules: dict[int, set[str]] = defaultdict(set)

    def look(self, *, at_once: bool = False) -> None:
        """Follow the tree, if it was not done lately."""
        if time.monotonic() < self._next and not at_once:
            return
        work = [self._root]
        while work:
            pid = work.pop()
            self._process(pid)
            work += _children(pid)
        self._next = time.monotonic() + _LOOK_SECONDS

    def _process(self, pid: int) -> None:
        now = time.monotonic_ns()
        try:
            program = str(Path(f"/proc/{pid}/exe").readlink())
            before = self._seen.get(pid)
            is_known = before is not None and before.program == program and before.is_watched
            if is_known and before and now - before.looked < _MODULES_SECONDS * 1e9:
                return
            files = {
                line.split(None, 5)[5].rstrip("\n")
                for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
                if " /" in line
            }
        except PermissionError:
            self._seen[pid] = _Seen(_command(pid), False, now, is_hidden=True)
            return
        except OSError:
            return  # It has ended, or is a zombie.
        is_watched = any(file.endswith(LIBRARY) for file in files)
        # A child of fork has its parent's record too.
        has_record = any(Path(file).name.startswith(f"{pid}-") for file in files)
        is_confined = is_watched and not has_record and _confined(pid)
        self._seen[pid] = _Seen(program, is_watched, now, is_confined=is_confined)
        if is_watched:
            self.modules[pid] |= files

    def unwatched(self, answers: dict[int, list[Note]]) -> list[Execution]:
        """Processes that were seen without the library, and did not get it later.

        Args:
            answers: The notes of its having been loaded, by process.
        """
        return [
            Execution(pid, seen.program, is_confined=seen.is_confined)
            for pid, seen in self._seen.items()
            if seen.is_confined or _is_unwatched(seen, answers.get(pid, ()))
        ]


def _is_unwatched(seen: _Seen, answers: Iterable[Note]) -> bool:
    return not seen.is_watched and not any(
        seen.is_hidden or note.time > seen.looked for note in answers
    )


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except OSError:
        pass  # It has ended.
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return f"process {pid}"


def _confined(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/root").stat().st_ino != Path("/").stat().st_ino
    except OSError:
        return False
