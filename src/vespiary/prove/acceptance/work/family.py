"""The processes of a server: everything that it started, also what has left its session.

This process adopts orphans (PR_SET_CHILD_SUBREAPER). So everything that a program of the case
starts stays a descendant of this process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

__all__ = [
    "adopt_orphans",
    "below",
    "children",
    "descriptors",
    "end_all",
    "name_of",
    "orphans",
    "zombies",
]

_SET_CHILD_SUBREAPER = 36
_PAUSE_SECONDS = 0.01


def adopt_orphans() -> None:
    """Become the parent of processes whose parent ends."""
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children(pid: int) -> list[int]:
    """The children of a process that have not ended."""
    return [each for each in _children(pid) if not _is_zombie(each)]


def zombies(pids: list[int]) -> list[int]:
    """The children of processes that have ended, and that nobody has waited for."""
    return [child for pid in pids for child in _children(pid) if _is_zombie(child)]


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
            words = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
            found += map(int, words)
    return found


def below(pid: int) -> list[int]:
    """All processes below one."""
    found = children(pid)
    for child in found:
        found += below(child)
    return found


def orphans(started: set[int]) -> list[int]:
    """Processes that this one has adopted, with those below them."""
    adopted = [pid for pid in children(os.getpid()) if pid not in started]
    return adopted + [each for pid in adopted for each in below(pid)]


def descriptors(pids: list[int]) -> int:
    """How many descriptors processes have open."""
    count = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            count += len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    return count


def name_of(pid: int) -> str:
    """A process for a report: its number and command."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        command = b" ".join(words).decode(errors="replace")[:120]
    except OSError:
        command = ""
    return f"{pid} ({command or 'ended'})"


def end_all() -> None:
    """Kill everything below this process, until nothing is left."""
    while found := below(os.getpid()):
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        reap()
        time.sleep(_PAUSE_SECONDS)
    reap()


def reap() -> None:
    """Take the status of adopted processes that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
