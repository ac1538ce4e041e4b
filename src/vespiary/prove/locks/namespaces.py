"""Processes in other PID namespaces (pid_namespaces(7)), such as those of containers.

A record contains the process numbers of its own namespace. In another namespace, these numbers
belong to other processes, which have nothing to do with the run: they must not be examined or
ended.
"""

from __future__ import annotations

import contextlib
from functools import cache
from pathlib import Path

__all__ = ["find", "is_own", "threads"]

_NUMBERS = "NSpid:"


@cache
def _own() -> int:
    """The namespace of this process, by its inode's number."""
    return _namespace("self")


def is_own(namespace: int) -> bool:
    """Whether a namespace is this process's; 0 stands for one that is not known."""
    return namespace in (0, _own())


def find(inner: int, namespace: int) -> int | None:
    """The number that a process of another namespace has here, None if it has ended.

    Args:
        inner: Its number there.
        namespace: The number of that namespace's inode.
    """
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and _inner(path) == inner and _namespace(path.name) == namespace:
            return int(path.name)
    return None


def threads(pid: int) -> dict[int, int]:
    """A process's threads: their numbers in its own namespace, and those that they have here."""
    found = {}
    with contextlib.suppress(OSError):
        for path in Path(f"/proc/{pid}/task").iterdir():
            inner = _inner(path)
            if inner is not None:
                found[inner] = int(path.name)
    return found


def _namespace(process: str) -> int:
    try:
        return Path(f"/proc/{process}/ns/pid").stat().st_ino
    except OSError:
        return 0


def _inner(path: Path) -> int | None:
    """The number of a process or thread in its own namespace."""
    try:
        for line in (path / "status").read_text(errors="replace").splitlines():
            if line.startswith(_NUMBERS):
                return int(line.split()[-1])
    except OSError:
        pass
    return None
