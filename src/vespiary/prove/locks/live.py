"""Threads that wait for each other now.

Each thread that has to wait tells for which lock, and each lock who holds it. A circle of those is
a deadlock; it is looked at twice, with the same waits, before it is believed, since the facts of
several threads are not read at one moment.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vespiary.prove.locks.record import Record, Thread

__all__ = ["Deadlock", "Watch"]

_TASKS_PATIENCE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Deadlock:
    """Threads each of which waits for a lock of the next.

    Attributes:
        threads: In the order of waiting; the last waits for the first. With `owner_gone` there is
            one, and it waits for a lock whose owner has ended.
        owner_gone: The number of the thread that has ended holding the lock.
    """

    threads: tuple[Thread, ...]
    owner_gone: int | None = None

    @property
    def identity(self) -> frozenset[tuple[int, int]]:
        """The same waits are the same deadlock."""
        return frozenset((thread.number, thread.waiting_since) for thread in self.threads)


class Watch:
    """Looks at one process's record again and again."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self._threads: dict[int, Thread] = {}
        self._suspected: set[frozenset[tuple[int, int]]] = set()
        self._told: set[tuple[int, int]] = set()

    def look(self) -> Deadlock | None:
        """A deadlock, once it was seen twice."""
        self._threads = {thread.number: thread for thread in self.record.threads()}
        found = self._find()
        before, self._suspected = self._suspected, {each.identity for each in found}
        for each in found:
            if each.identity in before and self._is_settled(each):
                return each
        return None

    def _is_settled(self, found: Deadlock) -> bool:
        """Whether it has stayed for long enough: a task's wait may yet be cancelled."""
        if all(thread.carrier is None for thread in found.threads):
            return True
        youngest = max(thread.waiting_since for thread in found.threads)
        return time.monotonic_ns() - youngest >= _TASKS_PATIENCE_SECONDS * 1e9

    def stalled(self, seconds: float) -> list[Thread]:
        """Threads that had waited for longer at the last look, each told once a wait."""
        now = time.monotonic_ns()
        found = []
        for thread in self._threads.values():
            wait = (thread.number, thread.waiting_since)
            is_long = now - thread.waiting_since > seconds * 1e9
            if thread.waiting is not None and is_long and wait not in self._told:
                self._told.add(wait)
                found.append(thread)
        return found

    def _find(self) -> list[Deadlock]:
        found: dict[frozenset[tuple[int, int]], Deadlock] = {}
        done: set[int] = set()
        for start in self._threads.values():
            for each in self._from(start, done):
                found.setdefault(each.identity, each)
        return list(found.values())

    def _from(self, start: Thread, done: set[int]) -> Iterator[Deadlock]:
        """The circles that a thread's wait leads to; each thread is gone through once."""
        path: list[Thread] = []
        work = [(start, 0)]
        while work:
            thread, depth = work.pop()
            del path[depth:]
            if thread in path:
                circle = path[path.index(thread) :]
                waiting = tuple(each for each in circle if each.waiting is not None)
                if len(waiting) > 1 or not self._may_be_released(waiting[0]):
                    yield Deadlock(waiting)
                continue
            if thread.number in done:
                continue
            done.add(thread.number)
            path.append(thread)
            work += [(carrier, depth + 1) for carrier in self._stuck_carrier(thread)]
            for holder in [] if thread.waiting is None else self.holders(thread.waiting):
                if holder.alive and not self._is_gone(holder):
                    work.append((holder, depth + 1))
                elif holder.carrier is None and not self._may_be_released(thread):
                    # A lock of a task that has ended may yet be released by another.
                    yield Deadlock((thread,), holder.number)

    def _stuck_carrier(self, task: Thread) -> list[Thread]:
        """The thread that a task runs on, if that waits for a lock: no task of it goes on."""
        carrier = None if task.carrier is None else self._threads.get(task.carrier)
        return [carrier] if carrier is not None and carrier.waiting is not None else []

    def _may_be_released(self, waiting: Thread) -> bool:
        """Whether another thread may be meant to release what one waits for, and still can."""
        assert waiting.waiting is not None
        return self.record.lock(waiting.waiting).may_be_signal and any(
            other.alive and other.waiting is None and other.carrier is None
            for other in self._threads.values()
            if other.number != waiting.number and not self._is_gone(other)
        )

    def holders(self, number: int) -> list[Thread]:
        """Who holds a lock: its owner, or all who share it."""
        lock = self.record.lock(number)
        if lock.signal:
            return []
        if lock.owner is not None:
            owner = self._threads.get(lock.owner)
            if owner is None:
                return []
            # What a task took with its thread's hands is held until the task goes on.
            by_task = [held.task for held in owner.held if held.lock == number]
            task = next((task for task in by_task if task is not None), None)
            return [owner if task is None else self._threads.get(task, owner)]
        return [
            thread
            for thread in self._threads.values()
            if any(held.lock == number for held in thread.held)
        ]

    def _is_gone(self, thread: Thread) -> bool:
        return not Path(f"/proc/{self.record.pid}/task/{thread.tid}").exists()
