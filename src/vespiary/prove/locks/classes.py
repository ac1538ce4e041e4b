"""Classes of locks: locks that were created at one place, and inversions between classes.

Suppose that one thread takes the lock of account 1 and then that of table 1, and another one takes
the lock of table 2 and then that of account 2. They share no two locks, so this run shows no
inversion. But the next run may do the same with one account and one table. Locks that were created
at the same place form a class. An inversion between classes is found like one between locks, with
the same filters.

It is a **weaker** finding: a program may ensure that these two locks are never used together. The
kernel's lockdep uses only classes, and needs annotations for every lock that may be taken within
another of its class. To avoid false findings without annotations, these rules apply here:

* A place is more than a line. Frames of the standard library, of C libraries, and of functions
  whose name says that they create locks are skipped. The first other frame counts, together with
  the function that called it. Locks without such a frame belong to no class, as do locks whose
  creation was not seen (a static mutex).
* A gate lock counts by its class: while a program holds the lock of a bank, it may take the locks
  of this bank's accounts in any order, because two threads would need the lock of the same bank.
* Within one class, orders are reported only if they follow neither the age nor the addresses of the
  locks, come from several threads, and are not those of a tree. In a tree, each lock is taken only
  while one particular other lock is held.
* An inversion that is already reported between locks is not reported again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from vespiary.prove.locks.facts import Edge, Thread
from vespiary.prove.locks.graph import Circle, circles
from vespiary.prove.locks.places import Frame
from vespiary.prove.locks.sources import is_generic
from vespiary.prove.locks.together import NUMBER, Together

__all__ = ["ClassCircle", "class_circles", "place_of"]

_FOUND_MAX = 20

_Place = tuple[str, ...]


@dataclass(frozen=True)
class ClassCircle:
    """Orders between classes that go round.

    Attributes:
        edges: The orders as they were, between locks.
        members: For each order, how many locks the class of its first lock has.
        threads: How many different threads made them.
        within: Whether all are of one class.
    """

    edges: tuple[Edge, ...]
    members: tuple[int, ...]
    threads: int
    within: bool


def place_of(frames: Sequence[Frame]) -> _Place | None:
    """What tells a class: the place that wants a lock, and its caller; None where it is unknown."""
    own = next((at for at, frame in enumerate(frames) if not is_generic(frame)), None)
    if own is None:
        return None
    made = [f"{frame.name}:{frame.line}" for frame in frames[: own + 1]]
    caller = [frame.name for frame in frames[own + 1 : own + 2]]
    return (*made, *caller)


def class_circles(
    together: Together,
    orders: Sequence[Edge],
    threads: Mapping[int, Thread],
    told: Iterable[Circle],
) -> list[ClassCircle]:
    """Inversions between classes that are none between locks.

    Args:
        together: The records that describe the locks.
        orders: Their orders between locks.
        threads: Their threads by number.
        told: The circles that were found between locks.
    """
    classes = _Classes(together, orders)
    before = [
        frozenset(classes.node(lock) for lock in circle.locks)
        for circle in told
        if circle.threads > 1
    ]
    found = [
        *_between(classes, orders, threads, before),
        *_within(classes, orders, threads, before),
    ]
    return found[:_FOUND_MAX]


class _Classes:
    """Which lock is of which class. A class is a negative number; a lock of none stays itself."""

    def __init__(self, together: Together, orders: Iterable[Edge]) -> None:
        by_stack: dict[tuple[int, int], _Place | None] = {}
        members: dict[tuple[int, str, _Place], list[int]] = defaultdict(list)
        self.addresses: dict[int, int] = {}
        for number in sorted({lock for edge in orders for lock in (edge.first, edge.to)}):
            lock = together.lock(number)
            self.addresses[number] = lock.address
            if not lock.made or lock.stack is None:
                continue
            process = number & ~NUMBER
            key = process, lock.stack
            if key not in by_stack:
                by_stack[key] = place_of(together.places(number).stack(lock.stack))
            place = by_stack[key]
            if place is not None:
                members[process, lock.kind, place].append(number)
        self._nodes: dict[int, int] = {}
        self._sizes: Counter[int] = Counter()
        for identity, numbers in enumerate(members.values(), 1):
            if len(numbers) > 1:
                self._nodes.update(dict.fromkeys(numbers, -identity))
                self._sizes[-identity] = len(numbers)

    def node(self, lock: int) -> int:
        return self._nodes.get(lock, lock)

    def size(self, lock: int) -> int:
        """How many locks the lock's class has; 1 for a lock of none."""
        return self._sizes.get(self.node(lock), 1)

    def gates(self, edge: Edge) -> frozenset[int]:
        return frozenset(self.node(gate) for gate in edge.gates)


def _between(
    classes: _Classes,
    orders: Iterable[Edge],
    threads: Mapping[int, Thread],
    told: Sequence[frozenset[int]],
) -> list[ClassCircle]:
    """Circles among different classes."""
    lifted: dict[Edge, Edge] = {}
    for edge in orders:
        first, to = classes.node(edge.first), classes.node(edge.to)
        if first != to:
            gates = classes.gates(edge) - {first, to}
            lifted.setdefault(replace(edge, first=first, to=to, gates=gates), edge)
    found = []
    for circle in circles(lifted, threads):
        is_new = not any(nodes <= circle.locks for nodes in told)
        if circle.threads > 1 and is_new and any(node < 0 for node in circle.locks):
            edges = tuple(lifted[edge] for edge in circle.edges)
            found.append(_circle(classes, edges, circle.threads, within=False))
    return found


def _within(
    classes: _Classes,
    orders: Iterable[Edge],
    threads: Mapping[int, Thread],
    told: Sequence[frozenset[int]],
) -> list[ClassCircle]:
    """Classes whose locks are taken within each other in no order that could be meant."""
    nested: dict[int, list[Edge]] = defaultdict(list)
    for edge in orders:
        node = classes.node(edge.first)
        if node < 0 and node == classes.node(edge.to):
            nested[node].append(edge)
    found = []
    for node, edges in nested.items():
        if frozenset((node,)) in told or _is_ordered(classes, edges) or _is_tree(edges):
            continue
        lifted: dict[Edge, Edge] = {}
        for edge in edges:
            older, younger = (0, 1) if edge.first < edge.to else (1, 0)
            gates = frozenset(gate + 2 for gate in classes.gates(edge) if gate > 0)
            gates |= {gate for gate in classes.gates(edge) if gate < 0 and gate != node}
            lifted.setdefault(replace(edge, first=older, to=younger, gates=gates), edge)
        for circle in circles(lifted, threads):
            if circle.threads > 1:
                pair = tuple(lifted[edge] for edge in circle.edges)
                found.append(_circle(classes, pair, circle.threads, within=True))
    return found


def _is_ordered(classes: _Classes, edges: Iterable[Edge]) -> bool:
    """Whether the locks are always taken by age, or always by address, up or down."""
    by_age = {edge.first < edge.to for edge in edges}
    addresses = classes.addresses
    by_address = {addresses[edge.first] < addresses[edge.to] for edge in edges}
    return len(by_age) == 1 or len(by_address) == 1


def _is_tree(edges: Iterable[Edge]) -> bool:
    """Whether each lock is taken below one other only."""
    above: dict[int, set[int]] = defaultdict(set)
    for edge in edges:
        above[edge.to].add(edge.first)
    return all(len(parents) == 1 for parents in above.values())


def _circle(
    classes: _Classes, edges: tuple[Edge, ...], threads: int, *, within: bool
) -> ClassCircle:
    return ClassCircle(edges, tuple(classes.size(edge.first) for edge in edges), threads, within)
