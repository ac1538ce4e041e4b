"""Circles among lock orders, without those that cannot become a deadlock.

An order says: a thread took one lock while it held another. A circle of orders is a deadlock that
may happen, if threads can be in all of them at the same time. They cannot, and the circle is left
out, where

* two of its orders are the same thread's: a thread does not wait for itself;
* two of its orders were made under a common third lock (a gate): one thread at a time passes it;
* one of its orders was over before the other could begin: the thread that made the later one was
  not created yet, or the earlier one's had been joined (order by creation and joining);
* where two orders meet, the lock is held shared and wanted shared: readers do not wait for readers.

A lock that was only tried is never waited for; the library records no order into it. Sources: the
goodlock algorithm with gates and segments (Havelund 2000; Bensalem and Havelund 2005).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vespiary.prove.locks.record import Edge, Thread

__all__ = ["Circle", "circles"]

_LENGTH_MAX = 32
_STEPS_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Circle:
    """Orders, each of which begins with the lock that the one before it wants.

    Attributes:
        edges: The orders.
        threads: How many different threads made them; with one it is information only.
    """

    edges: tuple[Edge, ...]
    threads: int

    @property
    def locks(self) -> frozenset[int]:
        """The locks that take part."""
        return frozenset(edge.first for edge in self.edges)


def circles(edges: Iterable[Edge], threads: Mapping[int, Thread]) -> list[Circle]:
    """The shortest circle for each set of locks; those of a single thread only where no other is.

    Args:
        edges: The orders of one process.
        threads: Its threads by number.
    """
    outgoing: dict[int, list[Edge]] = defaultdict(list)
    for edge in edges:
        outgoing[edge.first].append(edge)
    found: dict[frozenset[int], Circle] = {}
    for component in _components(outgoing):
        search = _Search(outgoing, component, threads)
        for circle in search.circles():
            best = found.get(circle.locks)
            if best is None or (best.threads == 1 < circle.threads):
                found[circle.locks] = circle
    several = {locks for locks, circle in found.items() if circle.threads > 1}
    return [
        circle
        for locks, circle in found.items()
        if not any(other < locks for other in several)
        and (circle.threads > 1 or not any(other <= locks for other in several))
    ]


def _components(outgoing: Mapping[int, Sequence[Edge]]) -> Iterator[frozenset[int]]:
    """Sets of locks that reach each other, two or more (Tarjan 1972, without recursion)."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    on_stack: set[int] = set()
    stack: list[int] = []
    for root in list(outgoing):
        if root in index:
            continue
        work = [(root, iter([edge.to for edge in outgoing[root]]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            lock, targets = work[-1]
            for target in targets:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    behind = outgoing.get(target, ())
                    work.append((target, iter([edge.to for edge in behind])))
                    break
                if target in on_stack:
                    low[lock] = min(low[lock], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[lock])
                if low[lock] == index[lock]:
                    component = set()
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        component.add(member)
                        if member == lock:
                            break
                    if len(component) > 1:
                        yield frozenset(component)


class _Search:
    """Looks for circles within one component, the short ones first."""

    def __init__(
        self,
        outgoing: Mapping[int, Sequence[Edge]],
        component: frozenset[int],
        threads: Mapping[int, Thread],
    ) -> None:
        self._threads = threads
        self._component = component
        self._outgoing = {
            lock: [edge for edge in outgoing.get(lock, ()) if edge.to in component]
            for lock in component
        }
        self._steps = 0

    def circles(self) -> Iterator[Circle]:
        for length in range(2, min(len(self._component), _LENGTH_MAX) + 1):
            self._steps = 0
            for lock in sorted(self._component):
                # Each circle is found from the smallest of its locks.
                yield from self._from(lock, length, several=True)
                yield from self._from(lock, length, several=False)

    def _from(self, start: int, length: int, *, several: bool) -> Iterator[Circle]:
        path: list[Edge] = []

        def walk(lock: int) -> Iterator[Circle]:
            for edge in self._outgoing[lock]:
                self._steps += 1
                if self._steps > _STEPS_MAX:
                    return
                is_last = len(path) + 1 == length
                if (edge.to == start) != is_last or edge.to < start:
                    continue
                if any(edge.to == before.first for before in path[1:]):
                    continue
                if not self._fits(edge, path, is_last, several=several):
                    continue
                path.append(edge)
                if is_last:
                    count = len({each.thread for each in path})
                    yield Circle(tuple(path), count)
                else:
                    yield from walk(edge.to)
                path.pop()

        yield from walk(start)

    def _fits(self, edge: Edge, path: Sequence[Edge], is_last: bool, *, several: bool) -> bool:
        """Whether the order can be under way at the same time as those of the path."""
        if path and path[-1].to_shared and edge.first_shared:
            return False
        if is_last and path and edge.to_shared and path[0].first_shared:
            return False
        for before in path:
            if (before.thread != edge.thread) != several:
                return False
            if several and (before.gates & edge.gates or self._ordered(before, edge)):
                return False
        return True

    def _ordered(self, one: Edge, other: Edge) -> bool:
        return self._before(one, other) or self._before(other, one)

    def _before(self, early: Edge, late: Edge) -> bool:
        """Whether one was over before the other's thread could come to it.

        Walks from the late order's thread to those that created it: what their creators had done
        before, or had joined before, was over.
        """
        number: int | None = late.thread
        until = late.segment
        for _ in range(_LENGTH_MAX):
            if number is None:
                return False
            if number == early.thread and number != late.thread and early.segment < until:
                return True
            if self._joined_before(early.thread, number, until):
                return True
            thread = self._threads.get(number)
            if thread is None or thread.parent is None:
                return False
            number, until = thread.parent, thread.born
        return False

    def _joined_before(self, ended: int, joiner: int, until: int) -> bool:
        """Whether `joiner` had joined `ended`, or one who had joined it, before a moment."""
        for _ in range(_LENGTH_MAX):
            thread = self._threads.get(ended)
            if thread is None or thread.joiner is None or thread.joined >= until:
                return False
            if thread.joiner == joiner:
                return True
            ended = thread.joiner
        return False
