"""Threads that wait for each other now, in one process or in several that share locks.

Each waiting thread records which lock it waits for, and each lock has its holder. A cycle of these
is a deadlock. Because the facts of several threads are not read at one moment, a cycle is reported
only if a second check finds the same waits.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from vespiary.prove.locks.facts import Thread
from vespiary.prove.locks.kinds import KINDS
from vespiary.prove.locks.layout import Kind
from vespiary.prove.locks.record import Record, records
from vespiary.prove.locks.target import is_blocked_at, may_wait
from vespiary.prove.locks.together import Together, families

__all__ = ["Deadlock", "View", "Watch"]

_TASKS_PATIENCE_SECONDS = 0.5
_RELOCK_PATIENCE_SECONDS = 5
_MANY = 128
_SPIN = KINDS[Kind.SPIN]
"""The kind of lock for which a thread waits without a call."""


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


class Watch:
    """Looks at records again and again.

    Attributes:
        records: Them; those that come into the folder are added.
        views: What was seen at the last look, of processes in which a thread waits.
    """

    def __init__(self, records: Iterable[Record] = (), folder: Path | None = None) -> None:
        """Watch records, and those in a folder if one is given."""
        self.records = list(records)
        self._folder = folder
        self._many = _MANY
        self.views: list[View] = []
        self._suspected: set[frozenset[tuple[int, int, int]]] = set()

    def refresh(self) -> None:
        """Take in the records of new processes."""
        if self._folder is not None:
            known = {record.path for record in self.records}
            self.records += records(self._folder, known)

    def retired(self) -> list[Record]:
        """Takes out the records of processes that have ended, once there are many.

        A run may start any number of processes, and each record takes memory and a descriptor. One
        stays as long as others may have to be looked at together with it: those that share locks,
        and those that a living process comes from. Anyone who is given the others discards them.
        """
        if len(self.records) < self._many:
            return []
        needed = {record.parent for record in self.records if record.lives}
        forked = {record.fork.parent_started for record in self.records if record.fork is not None}
        stay: list[Record] = []
        gone: list[Record] = []
        for record in self.records:
            is_needed = (
                record.inner in needed
                or record.started in forked
                or record.lives
                or _shares(record)
            )
            (stay if is_needed else gone).append(record)
        self.records = stay
        self._many = max(_MANY, 2 * len(stay))
        return gone

    def look(self) -> tuple[Together, Deadlock] | None:
        """A deadlock, once it was seen twice, with the processes that it is in."""
        self.refresh()
        waiting = [record for record in self.records if record.waits()]
        # The owner may be in a process in which nobody waits, or in one that has ended.
        groups = families(self.records) if any(_shares(each) for each in waiting) else []
        together = [group for group in groups if len(group.records) > 1]
        alone = [
            Together([record])
            for record in waiting
            if not any(record in group.records for group in together)
        ]
        self.views = [View(each) for each in (*together, *alone)]
        before, self._suspected = self._suspected, set()
        for view in self.views:
            for each in view.deadlocks():
                identity = view.identity(each.threads)
                self._suspected.add(identity)
                if identity in before and _is_settled(each) and view.may_last(each):
                    return view.together, each
        return None


def _is_settled(found: Deadlock) -> bool:
    """Whether it has stayed for long enough: a task's wait may yet be cancelled."""
    if all(thread.carrier is None for thread in found.threads):
        return True
    youngest = max(thread.waiting_since for thread in found.threads)
    return time.monotonic_ns() - youngest >= _TASKS_PATIENCE_SECONDS * 1e9


def _shares(record: Record) -> bool:
    return next(record.shared(), None) is not None


class View:
    """Processes that share locks, as they were at one look."""

    def __init__(self, together: Together) -> None:
        self.together = together
        self._threads = {thread.number: thread for thread in together.threads()}

    def waiting(self) -> list[Thread]:
        """Threads that wait, of processes that live."""
        return [
            thread
            for thread in self._threads.values()
            if thread.waiting is not None and self.together.is_there(thread)
        ]

    def identity(self, threads: Iterable[Thread]) -> frozenset[tuple[int, int, int]]:
        """The same waits are the same deadlock."""
        return frozenset(
            (self.together.record(thread.number).pid, thread.tid, thread.waiting_since)
            for thread in threads
        )

    def may_last(self, found: Deadlock) -> bool:
        """Whether all of its threads wait as they have recorded, as far as the kernel says."""
        return all(
            thread.carrier is not None
            or thread.waiting is None
            or self.together.lock(thread.waiting).kind == _SPIN
            or may_wait(self.together.record(thread.number).pid, thread.tid)
            for thread in found.threads
        )

    def deadlocks(self) -> list[Deadlock]:
        """All that there are."""
        found: dict[frozenset[tuple[int, int, int]], Deadlock] = {}
        done: set[int] = set()
        for start in self.waiting():
            for each in self._from(start, done):
                found.setdefault(self.identity(each.threads), each)
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
                may_end = any(each.limited for each in waiting) or (
                    len(waiting) == 1 and self._may_be_released(waiting[0])
                )
                if not may_end:
                    yield Deadlock(waiting)
                continue
            if thread.number in done:
                continue
            done.add(thread.number)
            thread = self._retaken(thread)
            path.append(thread)
            work += [(carrier, depth + 1) for carrier in self._stuck_carrier(thread)]
            for holder in [] if thread.waiting is None else self.holders(thread.waiting):
                if holder.alive and self.together.is_there(holder):
                    work.append((holder, depth + 1))
                elif holder.left_behind or not self._goes_on_without(holder, thread):
                    yield Deadlock((thread,), holder.number)

    def _goes_on_without(self, ended: Thread, waiting: Thread) -> bool:
        """Whether a wait for a thread or task that has ended may still be over.

        Who waited for that very end only has to be given a processor; and a lock of a task that has
        ended may be released by another one.
        """
        assert waiting.waiting is not None
        waits_for_end = self.together.lock(waiting.waiting).life
        return waits_for_end or ended.carrier is not None or self._may_be_released(waiting)

    def _retaken(self, thread: Thread) -> Thread:
        """The thread, which waits for a mutex if its wait on a condition has come to that."""
        if thread.retaking is None or thread.waiting is not None:
            return thread
        record = self.together.record(thread.number)
        address = self.together.lock(thread.retaking).address
        if not is_blocked_at(record.pid, thread.tid, address):
            return thread
        waits = replace(thread, waiting=thread.retaking)
        self._threads[thread.number] = waits
        return waits

    def _stuck_carrier(self, task: Thread) -> list[Thread]:
        """The thread that a task runs on, if that waits for a lock: no task of it continues."""
        carrier = None if task.carrier is None else self._threads.get(task.carrier)
        return [carrier] if carrier is not None and carrier.waiting is not None else []

    def _may_be_released(self, waiting: Thread) -> bool:
        """Whether another thread may be meant to release what one waits for, and still can."""
        assert waiting.waiting is not None
        lock = self.together.lock(waiting.waiting)
        waited = time.monotonic_ns() - waiting.waiting_since
        if lock.released and waited > _RELOCK_PATIENCE_SECONDS * 1e9:
            # Used as a lock before, and nobody has come to release it for others.
            return False
        return lock.may_be_signal and any(
            other.alive and other.waiting is None and other.carrier is None
            for other in self._threads.values()
            if other.number != waiting.number and self.together.is_there(other)
        )

    def holders(self, number: int) -> list[Thread]:
        """Who holds a lock: its owner, or all who share it."""
        lock = self.together.lock(number)
        if lock.signal and not lock.life:
            return []
        owners = [
            self._threads[owner] for owner in self.together.owners(number) if owner in self._threads
        ]
        if owners:
            # A thread that has ended while it held the lock is no longer its owner when another
            # thread has it.
            alive = [owner for owner in owners if owner.alive and self.together.is_there(owner)]
            return [self._task_of(owner, number) for owner in alive or owners]
        return [
            thread
            for thread in self._threads.values()
            if any(held.lock == number for held in thread.held)
        ]

    def _task_of(self, owner: Thread, number: int) -> Thread:
        """What a task took with its thread's hands is held until the task continues."""
        by_task = [held.task for held in owner.held if held.lock == number]
        task = next((task for task in by_task if task is not None), None)
        return owner if task is None else self._threads.get(task, owner)
