"""Statistics from the log of the full mode: how often, how long and where locks were taken.

A wait counts only if another thread had the lock: the nanoseconds of an uncontended call are not
waiting. A hold lasts from taking to releasing. A lock that is held at the end counts as held until
the process ended by exit(3), or until the last time in the log.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from vespiary.prove.locks.log import AFTER_WAIT, AGAIN, CONTENDED, FAILED, TRIED, Log
from vespiary.prove.locks.names import Names
from vespiary.prove.locks.places import Frame, Places
from vespiary.prove.locks.record import Record
from vespiary.prove.locks.together import Together

__all__ = [
    "Group",
    "Place",
    "Span",
    "Spread",
    "Statistics",
    "Use",
    "as_json",
    "statistics",
]

_PLACES_MAX = 5
_WAIT_MIN_NS = 20_000
"""A try with a time limit, or the end of a wait on a condition, has waited if it took longer."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How long things took: how many, and nanoseconds in all, at most, and at three percentiles."""

    count: int
    total_ns: int
    max_ns: int
    p50_ns: int
    p90_ns: int
    p99_ns: int

    @classmethod
    def of(cls, values: Iterable[int]) -> Spread:
        """The spread of some nanoseconds."""
        ordered = sorted(values)
        if not ordered:
            return cls(0, 0, 0, 0, 0, 0)
        last = len(ordered) - 1
        p50, p90, p99 = (ordered[last * share // 100] for share in (50, 90, 99))
        return cls(len(ordered), sum(ordered), ordered[-1], p50, p90, p99)

    def as_json(self) -> dict[str, int]:
        """The spread as an object of a report."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere locks are waited for or held: its stack, how often, how long."""

    stack: list[Frame]
    count: int
    total_ns: int
    max_ns: int


@dataclass(frozen=True, slots=True)
class Use:
    """A thread's use of a lock."""

    thread: str
    acquisitions: int
    wait_ns: int
    hold_ns: int


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in which a thread waited for a lock, or held it; from the start, in ns."""

    thread: int
    waits: bool
    begin_ns: int
    end_ns: int


@dataclass(frozen=True)
class Group:
    """One lock, or the locks that were made at one place.

    Attributes:
        name: Of the lock, or of the place.
        process: The process's number.
        locks: How many there are.
        kind: What they are.
        made: Where they were made or first seen.
        acquisitions: How often they were taken, again by their holder included.
        contended: How often somebody else had them.
        failed: How often they were tried or waited for without success.
        wait: Of those that waited.
        hold: From taking to releasing.
        queue_max: The most threads that waited at the same time.
        uses: By thread, the longest waiting first.
        waits_at: Where waiting took longest in all.
        holds_at: Where holding took longest in all.
        spans: What happened when, for a drawing.
    """

    name: str
    process: int
    locks: int
    kind: str
    made: list[Frame]
    acquisitions: int
    contended: int
    failed: int
    wait: Spread
    hold: Spread
    queue_max: int
    uses: list[Use]
    waits_at: list[Place]
    holds_at: list[Place]
    spans: list[Span] = field(default_factory=list)

    @property
    def is_convoy(self) -> bool:
        """Whether threads queued for it, one behind the other, for a noticeable time."""
        return self.queue_max > 1 and self.wait.count > 9 and self.wait.total_ns > 1_000_000


@dataclass
class Statistics:
    """Of one process.

    Attributes:
        process: Its number.
        begin_ns: The first moment, of CLOCK_MONOTONIC.
        span_ns: From the first moment to the last.
        locks: The longest waited for first.
        classes: The same by where locks were made; only classes of more than one lock.
        lost: Acquisitions that found no room.
        threads: Names by number.
    """

    process: int
    begin_ns: int
    span_ns: int
    locks: list[Group]
    classes: list[Group]
    lost: int
    threads: dict[int, str]

    @property
    def acquisitions(self) -> int:
        """Of all locks."""
        return sum(lock.acquisitions for lock in self.locks)


class _Tally:
    """What is counted of a lock while the log is read."""

    __slots__ = ("acquisitions", "contended", "failed", "holds", "intervals", "uses", "waits")

    def __init__(self) -> None:
        self.acquisitions = self.contended = self.failed = 0
        self.waits: dict[int, array[int]] = defaultdict(lambda: array("Q"))
        """By the place of the stack."""
        self.holds: dict[int, array[int]] = defaultdict(lambda: array("Q"))
        self.uses: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
        self.intervals = array("Q")
        """Four words each: the thread, whether it waited, begin and end."""

    def add(self, other: _Tally) -> None:
        """Count another lock's in."""
        self.acquisitions += other.acquisitions
        self.contended += other.contended
        self.failed += other.failed
        for mine, its in ((self.waits, other.waits), (self.holds, other.holds)):
            for stack, values in its.items():
                mine[stack].extend(values)
        for thread, counts in other.uses.items():
            self.uses[thread] = [
                one + more for one, more in zip(self.uses[thread], counts, strict=True)
            ]
        self.intervals.extend(other.intervals)


def _tallies(log: Log, now: int) -> tuple[dict[int, _Tally], int, int]:
    """Everything counted by lock; the first moment and the last."""
    tallies: dict[int, _Tally] = defaultdict(_Tally)
    entries = list(log)
    first = min((entry[0] for entry in entries), default=0)
    last = log.ended or now or max((max(entry[:3]) for entry in entries), default=0)
    last = max(first, last) if entries else first
    for wanted, taken, released, lock, thread, stack, how in entries:
        tally = tallies[lock]
        use = tally.uses[thread]
        waited = (taken or released) - wanted
        if how & CONTENDED:
            tally.contended += 1
        is_long = how & (TRIED | AFTER_WAIT) and waited > _WAIT_MIN_NS
        if is_long or how & (CONTENDED | FAILED) == CONTENDED:
            tally.waits[stack].append(waited)
            tally.intervals.extend((thread, 1, wanted - first, wanted + waited - first))
            use[1] += waited
        if how & FAILED:
            tally.failed += 1
            continue
        tally.acquisitions += 1
        use[0] += 1
        if not how & AGAIN:
            end = released or last
            tally.holds[stack].append(end - taken)
            tally.intervals.extend((thread, 0, taken - first, end - first))
            use[2] += end - taken
    return tallies, first, last


def _queue_max(intervals: array[int]) -> int:
    """The most threads that waited at the same time."""
    steps = []
    for at in range(0, len(intervals), 4):
        if intervals[at + 1]:
            steps.append((intervals[at + 2], 1))
            steps.append((intervals[at + 3], -1))
    most = waiting = 0
    for _, step in sorted(steps):
        waiting += step
        most = max(most, waiting)
    return most


def _spans(intervals: array[int], span_ns: int, points: int = 1000) -> list[Span]:
    """What a drawing of this many points can show: what is nearer together becomes one."""
    grain = max(1, span_ns // points)
    rows: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for at in range(0, len(intervals), 4):
        thread, waits, begin, end = intervals[at : at + 4]
        rows[thread, waits].append((begin, end))
    found = []
    for (thread, waits), row in rows.items():
        begin, end = -1, -1
        for next_begin, next_end in sorted(row):
            if begin >= 0 and next_begin - end <= grain:
                end = max(end, next_end)
                continue
            if begin >= 0:
                found.append(Span(thread, bool(waits), begin, end))
            begin, end = next_begin, next_end
        found.append(Span(thread, bool(waits), begin, end))
    return found


class _Maker:
    """Makes groups of tallies, with names and places."""

    def __init__(self, record: Record, span_ns: int, names: Names) -> None:
        self._record = record
        self._places = Places(record)
        self._span_ns = span_ns
        self._names = names

    def _top(self, by_stack: dict[int, array[int]]) -> list[Place]:
        sums = sorted(((sum(values), stack) for stack, values in by_stack.items()), reverse=True)
        return [
            Place(
                self._places.stack(stack - 1 if stack else None),
                len(by_stack[stack]),
                total,
                max(by_stack[stack]),
            )
            for total, stack in sums[:_PLACES_MAX]
        ]

    def group(self, tally: _Tally, numbers: list[int]) -> Group:
        lock = self._record.lock(numbers[0])
        made = self._places.stack(lock.stack, lock.first_site)
        name = self._names.lock(numbers[0])
        if len(numbers) > 1:
            name = f"{len(numbers)} of {lock.kind} made at {made[0] if made else 'one place'}"
        uses = [Use(self._names.thread(thread), *counts) for thread, counts in tally.uses.items()]
        return Group(
            name=name,
            process=self._record.pid,
            locks=len(numbers),
            kind=lock.kind,
            made=made,
            acquisitions=tally.acquisitions,
            contended=tally.contended,
            failed=tally.failed,
            wait=Spread.of(value for values in tally.waits.values() for value in values),
            hold=Spread.of(value for values in tally.holds.values() for value in values),
            queue_max=_queue_max(tally.intervals),
            uses=sorted(uses, key=lambda use: (-use.wait_ns, -use.hold_ns)),
            waits_at=self._top(tally.waits),
            holds_at=self._top(tally.holds),
            spans=_spans(tally.intervals, self._span_ns),
        )


def _order(group: Group) -> tuple[int, int, int]:
    return -group.wait.total_ns, -group.hold.total_ns, -group.acquisitions


def statistics(record: Record, log: Log, now: int = 0) -> Statistics:
    """What a process's log comes to.

    Args:
        record: Its record.
        log: And the log next to it.
        now: Of CLOCK_MONOTONIC, if the process was alive and well until now.
    """
    tallies, first, last = _tallies(log, now)
    names = Names(Together([record]))
    maker = _Maker(record, last - first, names)
    locks = [maker.group(tally, [number]) for number, tally in tallies.items()]
    members: dict[int, list[int]] = defaultdict(list)
    for number in tallies:
        stack = record.lock(number).stack
        if stack is not None:
            members[stack].append(number)
    classes = []
    for numbers in members.values():
        if len(numbers) > 1:
            whole = _Tally()
            for number in numbers:
                whole.add(tallies[number])
            classes.append(maker.group(whole, numbers))
    return Statistics(
        record.pid,
        first,
        last - first,
        sorted(locks, key=_order),
        sorted(classes, key=_order),
        log.lost,
        {number: names.thread(number) for number in names.threads},
    )


def as_json(found: Statistics) -> dict[str, Any]:
    """Statistics as an object of a report."""
    return {
        "process": found.process,
        "span_ns": found.span_ns,
        "acquisitions": found.acquisitions,
        "lost": found.lost,
        "locks": [_group_json(group) for group in found.locks],
        "classes": [_group_json(group) for group in found.classes],
    }


def _group_json(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "kind": group.kind,
        "locks": group.locks,
        "made": [frame.as_json() for frame in group.made],
        "acquisitions": group.acquisitions,
        "contended": group.contended,
        "failed": group.failed,
        "queue_max": group.queue_max,
        "wait": group.wait.as_json(),
        "hold": group.hold.as_json(),
        "threads": [
            {
                "thread": use.thread,
                "acquisitions": use.acquisitions,
                "wait_ns": use.wait_ns,
                "hold_ns": use.hold_ns,
            }
            for use in group.uses
        ],
        "waits_at": [_place_json(place) for place in group.waits_at],
        "holds_at": [_place_json(place) for place in group.holds_at],
    }


def _place_json(place: Place) -> dict[str, Any]:
    return {
        "stack": [frame.as_json() for frame in place.stack],
        "count": place.count,
        "total_ns": place.total_ns,
        "max_ns": place.max_ns,
    }
