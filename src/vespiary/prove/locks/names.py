"""What the locks and threads of a record are called."""

from __future__ import annotations

from functools import cached_property

from vespiary.prove.locks.record import GIL, Record, Thread

__all__ = ["Names"]


class Names:
    """The names of one record's locks and threads, by their numbers."""

    def __init__(self, record: Record) -> None:
        self._record = record

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
        """A lock's kind, number and address."""
        lock = self._record.lock(number)
        if lock.kind == GIL:
            return "the GIL"
        return f"{lock.kind} L{number} at {lock.address:#x}"
