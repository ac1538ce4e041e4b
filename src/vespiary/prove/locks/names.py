"""What the locks and threads of a record are called."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from vespiary import _core
from vespiary.prove.locks.assignments import assigned
from vespiary.prove.locks.facts import Lock, Thread
from vespiary.prove.locks.kinds import FUTURE, GIL, LOADER
from vespiary.prove.locks.places import Frame
from vespiary.prove.locks.together import NUMBER, Together

__all__ = ["Names"]

_MAKERS = ("threading.py", "queue.py", "synchronize.py", "context.py", "queues.py")
"""Files of `threading`, `queue` and `multiprocessing`."""


class Names:
    """The names of the locks and threads of some records, by their numbers."""

    def __init__(self, together: Together) -> None:
        self._together = together
        self._assignments: dict[tuple[int, int | None], str | None] = {}

    @cached_property
    def threads(self) -> dict[int, Thread]:
        """The threads as they are now."""
        return {thread.number: thread for thread in self._together.threads()}

    def thread(self, number: int) -> str:
        """A thread's name, with the kernel's number."""
        thread = self.threads.get(number)
        if thread is None:
            return f"thread {number}"
        if thread.carrier is not None:
            what = f" ({thread.coroutine})" if thread.coroutine else ""
            name = f"task {thread.name or number & NUMBER}{what} on thread {thread.tid}"
        else:
            name = f"thread {thread.name or number & NUMBER} ({thread.tid})"
        if len(self._together.records) > 1:
            name += f" of process {self._together.record(number).pid}"
        return name

    def lock(self, number: int) -> str:
        """A lock's kind and number, with its variable where that is known, or its address."""
        lock = self._together.lock(number)
        if lock.kind == GIL:
            return "the GIL"
        if lock.kind == LOADER:
            return "the dynamic loader's lock"
        if lock.kind == FUTURE and lock.owner is not None:
            return f"the future that {self.thread(lock.owner)} works out"
        if lock.life and lock.owner is not None:
            return f"the end of {self.thread(lock.owner)}"
        name = self._assigned(lock) if lock.made else None
        name = name or self._variable(lock)
        where = f" at {lock.address:#x}" if name is None else f" {name}"
        return f"{lock.kind} L{number & NUMBER}{where}"

    def _assigned(self, lock: Lock) -> str | None:
        """What a lock is assigned to in the line of Python that makes it."""
        key = (lock.number & ~NUMBER, lock.stack)
        if key not in self._assignments:
            frames = self._together.places(lock.number).stack(lock.stack)
            maker = next((frame for frame in frames if not _makes_locks(frame)), None)
            name = assigned(maker) if maker is not None else None
            owner = maker.function.rpartition(".")[0] if maker is not None else ""
            if name is not None and owner:
                # In a method of Account `self.lock` is an Account's lock.
                name = re.sub(r"^(self|cls)\.", f"{owner}.", name)
            self._assignments[key] = name
        return self._assignments[key]

    def _variable(self, lock: Lock) -> str | None:
        """What a program calls a lock that is not part of the heap or a stack."""
        module = self._together.places(lock.number).module(lock.address)
        if module is None:
            return None
        try:
            found = _core.variable(module.path, lock.address - module.bias)
        except OSError:
            return None
        if found is None:
            return None
        name, offset = found
        return f"{name}+{offset}" if offset else name


def _makes_locks(frame: Frame) -> bool:
    """Whether a frame belongs to the library that creates locks, and not to its caller."""
    return Path(frame.file or "").name in _MAKERS
