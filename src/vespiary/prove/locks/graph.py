"""Cycles among lock orders, without those that cannot become a deadlock.

An order means that a thread took one lock while it held another. A cycle of orders is a possible
deadlock if threads can be in all of these orders at the same time. This is impossible, and the
cycle is omitted, in these cases:

* Two of its orders are from the same thread: a thread does not wait for itself.
* Two of its orders were made while the same third lock was held (a gate lock): only one thread at a
  time can hold it.
* One of its orders had ended before the other could begin. Either the thread of the later one was
  not created yet, or that of the earlier one had been joined (order by creation and joining); or
  the earlier thread had notified the later one, by a condition, a semaphore, a barrier, a queue, an
  event or a future.
* Where two orders meet, the lock is held shared and wanted shared: readers do not wait for readers.

A thread never waits for a lock that it only tries, so the library records no order for that.
Sources: the goodlock algorithm with gates and segments (Havelund 2000; Bensalem and Havelund 2005).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vespiary.prove.locks.facts import Edge, Thread
from vespiary.prove.locks.kinds import OF_TASKS, RECURSIVE

__all__ = ["Circle", "circles"]

_LENGTH_MAX = 32
_STEPS_MAX = 500_000


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


def circles(
    edges: Iterable[Edge],
    threads: Mapping[int, Thread],
    on_limit: Callable[[frozenset[int]], None] = lambda locks: None,
    kind: Callable[[int], str] = lambda lock: "",
    is_over: Callable[[Edge, Edge], bool] = lambda early, late: False,
) -> list[Circle]:
    """The shortest circle for each set of locks; those of a single thread only where no other is.

    Args:
        edges: The orders of one process, or of several that share locks.
        threads: Their threads by number.
        on_limit: Called with locks that are entangled in more ways than are checked: there may be
            circles among them that are not given.
        kind: The kind of the lock with a number.
        is_over: Reports two orders of different processes whether the first was over before the
            second, where threads do not show it.
    """
    outgoing: dict[int, list[Edge]] = defaultdict(list)
    for edge in edges:
        outgoing[edge.first].append(edge)
    found: dict[frozenset[int], Circle] = {}
    for component in _components(outgoing):
        search = _Search(outgoing, component, threads, kind, is_over)
        for circle in search.circles():
            best = found.get(circle.locks)
            if best is None or (best.threads == 1 < circle.threads):
                found[circle.locks] = circle
        if not search.is_whole:
            on_limit(component)
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


@dataclass(slots=True)
class _Way:
    """One lock taken while another is held, in one manner and under the same gates: by some."""

    first: int
    to: int
    first_shared: bool
    to_shared: bool
    gates: frozenset[int]
    edges: list[Edge]


def _ways(edges: Iterable[Edge]) -> list[_Way]:
    ways: dict[tuple[int, int, bool, bool, frozenset[int]], _Way] = {}
    for edge in edges:
        key = (edge.first, edge.to, edge.first_shared, edge.to_shared, edge.gates)
        ways.setdefault(key, _Way(*key, [])).edges.append(edge)
    return list(ways.values())


def _share_a_gate(ways: Sequence[_Way]) -> bool:
    return sum(len(way.gates) for way in ways) > len(frozenset().union(*(w.gates for w in ways)))


def _as_seen(edges: Sequence[Edge]) -> tuple[Edge, ...]:
    """A circle's orders from the one that was seen first: the numbers of locks mean nothing."""
    first = min(range(len(edges)), key=lambda number: edges[number].time)
    return (*edges[first:], *edges[:first])


class _Search:
    """Looks for circles within one component, the short ones first.

    Two steps, since many threads may do the same: first a circle of ways, which differ in what is
    held besides; then for each way a thread, such that the threads can meet.
    """

    def __init__(
        self,
        outgoing: Mapping[int, Sequence[Edge]],
        component: frozenset[int],
        threads: Mapping[int, Thread],
        kind: Callable[[int], str],
        is_over: Callable[[Edge, Edge], bool],
    ) -> None:
        self._threads = threads
        self._kind = kind
        self._is_over = is_over
        self._component = component
        self._outgoing = {
            lock: _ways(edge for edge in outgoing.get(lock, ()) if edge.to in component)
            for lock in component
        }
        self._steps = 0
        self._found: list[frozenset[int]] = []

    @property
    def is_whole(self) -> bool:
        """Whether all circles were checked."""
        return self._steps <= _STEPS_MAX

    def circles(self) -> Iterator[Circle]:
        for length in range(2, min(len(self._component), _LENGTH_MAX) + 1):
            for lock in sorted(self._component):
                # Each circle is found from the smallest of its locks.
                for way in self._outgoing[lock]:
                    yield from self._walk(lock, [way], length)

    def _walk(self, start: int, path: list[_Way], length: int) -> Iterator[Circle]:
        self._steps += 1
        last = path[-1]
        is_last = len(path) == length
        if not self.is_whole or (last.to == start) != is_last or last.to < start:
            return
        if is_last:
            yield from self._close(path)
            return
        locks = frozenset(way.first for way in path) | {last.to}
        if len(locks) <= len(path) or any(found <= locks for found in self._found):
            return
        for way in self._outgoing[last.to]:
            if not (last.to_shared and way.first_shared):
                yield from self._walk(start, [*path, way], length)

    def _close(self, path: Sequence[_Way]) -> Iterator[Circle]:
        locks = frozenset(way.first for way in path)
        if path[-1].to_shared and path[0].first_shared:
            return
        if any(found <= locks for found in self._found):
            return
        common = {edge.thread for edge in path[0].edges}
        for way in path[1:]:
            common &= {edge.thread for edge in way.edges}
        if common:
            thread = min(common)
            edges = [next(edge for edge in way.edges if edge.thread == thread) for way in path]
            yield Circle(_as_seen(edges), 1)
        if _share_a_gate(path):
            return
        met = self._meet(path, [])
        if met is not None:
            self._found.append(locks)
            yield Circle(_as_seen(met), len(met))

    def _meet(self, ways: Sequence[_Way], chosen: list[Edge]) -> list[Edge] | None:
        """An order for each way, of different threads, of which none was over before another."""
        if len(chosen) == len(ways):
            return chosen
        for edge in ways[len(chosen)].edges:
            self._steps += 1
            if not self.is_whole:
                return None
            fits = all(
                self._stuck(before).isdisjoint(self._stuck(edge))
                and not self._ordered(before, edge)
                for before in chosen
            )
            if fits and chosen:
                fits = self._blocks(chosen[-1], edge)
            if fits and len(chosen) + 1 == len(ways):
                fits = self._blocks(edge, chosen[0])
            if fits:
                met = self._meet(ways, [*chosen, edge])
                if met is not None:
                    return met
        return None

    def _stuck(self, edge: Edge) -> set[int]:
        """Who does not continue while this order waits: with a task its thread, if that waits."""
        thread = self._threads.get(edge.thread)
        if thread is None or thread.carrier is None or self._kind(edge.to) in OF_TASKS:
            return {edge.thread}
        return {edge.thread, thread.carrier}

    def _blocks(self, waits: Edge, holds: Edge) -> bool:
        """Whether one waits for the other: not for a recursive lock that is its own thread's."""
        return self._kind(holds.first) != RECURSIVE or self._carrier(waits) != self._carrier(holds)

    def _carrier(self, edge: Edge) -> int:
        thread = self._threads.get(edge.thread)
        return edge.thread if thread is None or thread.carrier is None else thread.carrier

    def _ordered(self, one: Edge, other: Edge) -> bool:
        return self._before(one, other) or self._before(other, one)

    def _before(self, early: Edge, late: Edge) -> bool:
        """Whether one was over before the other's thread could come to it.

        Walks from the late order's thread to those that created it: what their creators had done
        before, or had joined before, was over.
        """
        if self._is_over(early, late) or (early.thread != late.thread and late.knows(early)):
            return True
        number: int | None = late.thread
        until = late.segment
        for _ in self._threads:
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
        for _ in self._threads:
            thread = self._threads.get(ended)
            if thread is None or thread.joiner is None:
                return False
            if thread.joiner == joiner:
                # Only these two moments are of the same process for certain.
                return thread.joined < until
            ended = thread.joiner
        return False
