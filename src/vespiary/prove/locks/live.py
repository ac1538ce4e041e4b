"""Threads that wait for each other now.

Each thread that has to wait tells for which lock, and each lock who holds it. A circle of those is
a deadlock; it is looked at twice, with the same waits, before it is believed, since the facts of
several threads are not read at one moment.
"""

import os
from dataclasses import dataclass

from vespiary.prove.locks.record import Record, Thread

__all__ = ["Deadlock", "Watch"]


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
        self._record = record
        self._suspected: set[frozenset[tuple[int, int]]] = set()

    def look(self) -> Deadlock | None:
        """A deadlock, once it was seen twice."""
        found = self._find()
        before, self._suspected = self._suspected, {each.identity for each in found}
        for each in found:
            if each.identity in before:
                return each
        return None

    def _find(self) -> list[Deadlock]:
        threads = {thread.number: thread for thread in self._record.threads()}
        found: list[Deadlock] = []
        seen: set[int] = set()
        for start in threads.values():
            if start.waiting is None or start.number in seen:
                continue
            path: list[Thread] = []
            current: Thread | None = start
            while current is not None and current.waiting is not None:
                if current in path:
                    circle = path[path.index(current) :]
                    found.append(Deadlock(tuple(circle)))
                    break
                if current.number in seen:
                    break
                path.append(current)
                seen.add(current.number)
                owner = self._record.lock(current.waiting).owner
                if owner is None:
                    break
                holder = threads.get(owner)
                if holder is None or (not holder.alive or self._is_gone(holder)):
                    found.append(Deadlock((current,), owner))
                    break
                current = holder
        return found

    def _is_gone(self, thread: Thread) -> bool:
        return not os.path.exists(f"/proc/{self._record.pid}/task/{thread.tid}")
