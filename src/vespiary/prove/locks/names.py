"""What the locks and threads of a record are called."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from vespiary import _core
from vespiary.prove.locks import sources
from vespiary.prove.locks.places import Frame, Places
from vespiary.prove.locks.record import GIL, Lock, Record, Thread

__all__ = ["Names"]

_ASSIGNED = re.compile(r"([A-Za-z_][\w.]*) *(?::[^=]*)?=[^=]")
"""A line of Python that assigns something to one name or attribute."""


class Names:
    """The names of one record's locks and threads, by their numbers."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._assignments: dict[int | None, str | None] = {}
        self._places = Places(record)

    @cached_property
    def threads(self) -> dict[int, Thread]:
        """The record's threads as they are now."""
        return {thread.number: thread for thread in self._record.threads()}

    def thread(self, number: int) -> str:
        """A thread's name, with the kernel's number."""
        thread = self.threads.get(number)
        if thread is None:
            return f"thread {number}"
        if thread.carrier is not None:
            what = f" ({thread.coroutine})" if thread.coroutine else ""
            return f"task {thread.name or number}{what} on thread {thread.tid}"
        return f"thread {thread.name or number} ({thread.tid})"

    def lock(self, number: int) -> str:
        """A lock's kind and number, with its variable where that is known, or its address."""
        lock = self._record.lock(number)
        if lock.kind == GIL:
            return "the GIL"
        name = self._assigned(lock) if lock.made else None
        name = name or self._variable(lock.address)
        where = f" at {lock.address:#x}" if name is None else f" {name}"
        return f"{lock.kind} L{number}{where}"

    def _assigned(self, lock: Lock) -> str | None:
        """What a lock is assigned to in the line of Python that makes it."""
        if lock.stack not in self._assignments:
            frames = self._places.stack(lock.stack)
            maker = next((frame for frame in frames if not _makes_locks(frame)), None)
            found = _ASSIGNED.match(sources.line(maker)) if maker is not None else None
            self._assignments[lock.stack] = found[1] if found is not None else None
        return self._assignments[lock.stack]

    def _variable(self, address: int) -> str | None:
        """What a program calls a lock that is no part of the heap or a stack."""
        module = self._places.module(address)
        if module is None:
            return None
        try:
            found = _core.variable(module.path, address - module.bias)
        except OSError:
            return None
        if found is None:
            return None
        name, offset = found
        return f"{name}+{offset}" if offset else name


def _makes_locks(frame: Frame) -> bool:
    """Whether a frame is the library's that makes locks, and not of who wants one."""
    return Path(frame.file or "").name in ("threading.py", "queue.py")
