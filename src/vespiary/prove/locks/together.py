"""Several processes as one: the locks that they share, and which process started which.

Each process has its own record. A lock in shared memory is in several of them, with different
numbers. What they have in common is where its memory comes from. Here a thread or lock of the
record at place `p` has the number `p << 32 | n`, and a shared lock has one number: that of the
first record that contains it. So cycles of several processes are found and reported like those of
one.

What one process did before it started another comes before all that the other does, and all that
the other did comes before what happens after a wait for its end: this is the same as creating and
joining a thread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from vespiary.prove.locks.between import Child
from vespiary.prove.locks.facts import RECORD_BITS, Edge, Event, Lock, Thread
from vespiary.prove.locks.places import Places
from vespiary.prove.locks.record import Record, records

__all__ = ["NUMBER", "Together", "families"]

NUMBER = (1 << RECORD_BITS) - 1
"""The part of a number that is the record's own."""

_SEMAPHORES = {"semaphore", "multiprocessing semaphore"}


class Together:
    """The records of one process or several.

    Attributes:
        records: Them.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        """Take records; the locks that they share are those of this moment."""
        self.records = records
        self._places = [Places(record) for record in records]
        self._first: dict[int, int] = {}
        self._same: dict[int, list[int]] = {}
        if len(records) > 1:
            self._match()

    def _match(self) -> None:
        """Which locks are the same: the memory is, and nobody has made it again in between."""
        met: dict[tuple[int, int, int], list[tuple[int, bool, int]]] = defaultdict(list)
        for place, record in enumerate(self.records):
            for shared in record.shared():
                if record.lock(shared.lock).shared == shared:
                    number = place << RECORD_BITS | shared.lock
                    met[shared.key].append((shared.entered, shared.made, number))
        for entries in met.values():
            group: list[int] = []
            for _, made, number in sorted(entries):
                if made or not group:
                    group = []
                    self._same[number] = group
                group.append(number)
                self._first[number] = group[0]

    def record(self, number: int) -> Record:
        """The record that a thread or a lock is in."""
        return self.records[number >> RECORD_BITS]

    def places(self, number: int) -> Places:
        """The frames of the record that a thread or a lock is in."""
        return self._places[number >> RECORD_BITS]

    def lock(self, number: int) -> Lock:
        """A lock; a shared one as the first record has it, and a signal if it is one anywhere."""
        lock = self.record(number).lock(number & NUMBER)
        if lock.shared is None:
            owner = None if lock.owner is None else number & ~NUMBER | lock.owner
            return replace(lock, number=number, owner=owner)
        same = [self.record(other).lock(other & NUMBER) for other in self.same(number)]
        signal = any(each.signal for each in same)
        if lock.kind in _SEMAPHORES:
            # Its initial value is known if its creation was watched. Otherwise it does not count as
            # a lock.
            signal |= not any(each.shared is not None and each.shared.made for each in same)
        owner = None if lock.owner is None else number & ~NUMBER | lock.owner
        owned = any(each.owned for each in same)
        return replace(lock, number=number, owner=owner, signal=signal, owned=owned)

    def same(self, number: int) -> Sequence[int]:
        """The numbers of a lock in all the records that have it."""
        return self._same.get(self._first.get(number, number), (number,))

    def owners(self, number: int) -> list[int]:
        """Who holds a lock exclusively; several if some of them have ended holding it."""
        owners = []
        for each in self.same(number):
            owner = self.record(each).lock(each & NUMBER).owner
            if owner is not None:
                owners.append(each & ~NUMBER | owner)
        return owners

    def lives(self, number: int) -> bool:
        """Whether the process of a thread runs; one whose end was not waited for does not."""
        return self.record(number).lives

    def is_there(self, thread: Thread) -> bool:
        """Whether the kernel has a thread."""
        record = self.record(thread.number)
        return record.lives and Path(f"/proc/{record.pid}/task/{thread.tid}").exists()

    def parent_of(self, number: int) -> Together | None:
        """The record of the process from which a thread's process was forked, by itself."""
        fork = self.record(number).fork
        if fork is None:
            return None
        own = self.record(number)
        # The parent need not share a lock: it is looked for next to the child's record.
        for record in records(own.path.parent, {each.path for each in self.records}):
            if record.started == fork.parent_started:
                return Together([record])
            record.close()
        found = (each for each in self.records if each.started == fork.parent_started)
        parent = next(found, None)
        return Together([parent]) if parent is not None else None

    def _lock_number(self, place: int, number: int) -> int:
        own = place << RECORD_BITS | number
        return self._first.get(own, own)

    def threads(self) -> list[Thread]:
        """All threads of all processes."""
        if len(self.records) == 1:
            return self.records[0].threads()
        return [thread for place in range(len(self.records)) for thread in self._threads_of(place)]

    def _threads_of(self, place: int) -> Iterator[Thread]:
        record = self.records[place]
        base = place << RECORD_BITS
        maker, born = self._makers[place]
        waiter, waited = self._waiter(place)
        for thread in record.threads():
            held = tuple(
                replace(
                    each,
                    lock=self._lock_number(place, each.lock),
                    task=None if each.task is None else base | each.task,
                )
                for each in thread.held
            )
            waiting, retaking = thread.waiting, thread.retaking
            known = replace(
                thread,
                number=base | thread.number,
                parent=None if thread.parent is None else base | thread.parent,
                joiner=None if thread.joiner is None else base | thread.joiner,
                waiting=None if waiting is None else self._lock_number(place, waiting),
                retaking=None if retaking is None else self._lock_number(place, retaking),
                held=held,
                carrier=None if thread.carrier is None else base | thread.carrier,
            )
            if (thread.parent is None and thread.carrier is None) or thread.left_behind:
                known = replace(known, parent=maker, born=born)
            if thread.joiner is None:
                known = replace(known, joiner=waiter, joined=waited)
            yield known

    @cached_property
    def _makers(self) -> list[tuple[int | None, int]]:
        return [self._maker(place) for place in range(len(self.records))]

    @cached_property
    def _children(self) -> list[tuple[int, Child] | None]:
        return [self._child(place) for place in range(len(self.records))]

    def _maker(self, place: int) -> tuple[int | None, int]:
        """The thread of another process that made a process, and when in that one's time."""
        fork = self.records[place].fork
        if fork is not None:
            for other, record in enumerate(self.records):
                if record.started == fork.parent_started:
                    return other << RECORD_BITS | fork.thread, fork.moment
        found = self._children[place]
        if found is None:
            return None, 0
        other, child = found
        return other << RECORD_BITS | child.maker, child.born

    def _waiter(self, place: int) -> tuple[int | None, int]:
        found = self._children[place]
        if found is None or found[1].waiter is None:
            return None, 0
        other, child = found
        return other << RECORD_BITS | found[1].waiter, child.waited

    def _child(self, place: int) -> tuple[int, Child] | None:
        """The entry of a process in its parent's record."""
        own = self.records[place]
        found = [
            (abs(child.made - own.started), other, child)
            for other, record in enumerate(self.records)
            if record.inner == own.parent
            for child in record.children()
            if child.pid == own.inner
        ]
        if not found:
            return None
        # Numbers come again; the nearest in time is the one.
        _, other, child = min(found, key=lambda each: each[0])
        return other, child

    def edges(self) -> Iterator[Edge]:
        """All orders."""
        if len(self.records) == 1:
            yield from self.records[0].edges()
            return
        for place, record in enumerate(self.records):
            base = place << RECORD_BITS
            for edge in record.edges():
                yield replace(
                    edge,
                    thread=base | edge.thread,
                    first=self._lock_number(place, edge.first),
                    to=self._lock_number(place, edge.to),
                    gates=frozenset(self._lock_number(place, gate) for gate in edge.gates),
                )

    def is_over(self, early: Edge, late: Edge) -> bool:
        """Whether an order's process had ended before another process did something first.

        Who starts processes through a third one (a fork server) hears from that one of their end,
        by a message. So the end of a process counts as known to those that its parent descends
        from as soon as its parent has waited for it.
        """
        place, other = early.thread >> RECORD_BITS, late.thread >> RECORD_BITS
        if place == other:
            return False
        found = self._children[place]
        if found is None or not 0 < found[1].ended < late.time:
            return False
        ancestor = found[0]
        for _ in self.records:
            maker, _ = self._makers[ancestor]
            if maker is None:
                return False
            ancestor = maker >> RECORD_BITS
            if ancestor == other:
                return True
        return False

    def events(self) -> Iterator[Event]:
        """All that was written down for itself."""
        for place, record in enumerate(self.records):
            base = place << RECORD_BITS
            for event in record.events():
                other = None if event.other is None else base | event.other
                yield replace(
                    event,
                    thread=base | event.thread,
                    lock=self._lock_number(place, event.lock),
                    other=other,
                )


def families(records: Sequence[Record]) -> list[Together]:
    """Records that have to be looked at together: of processes that share locks.

    With such processes come those that they descend from, up to the one that all of them do: who
    made whom, and who waited for whose end, is known through them. All others are by themselves.
    """
    group_of = list(range(len(records)))

    def root(number: int) -> int:
        while group_of[number] != number:
            number = group_of[number]
        return number

    holders: dict[tuple[int, int, int], int] = {}
    is_joined = [False] * len(records)
    for number, record in enumerate(records):
        for shared in record.shared():
            other = holders.setdefault(shared.key, number)
            if other != number:
                group_of[root(number)] = root(other)
                is_joined[number] = is_joined[other] = True
    for number, joined in enumerate(is_joined):
        member = number
        while joined:
            parent = _parent(records, member)
            if parent is None or (root(parent) == root(number) and is_joined[parent]):
                break
            group_of[root(parent)] = root(number)
            is_joined[parent] = True
            member = parent
    groups: dict[int, list[Record]] = defaultdict(list)
    for number, record in enumerate(records):
        groups[root(number)].append(record)
    return [Together(sorted(group, key=lambda each: each.started)) for group in groups.values()]


def _parent(records: Sequence[Record], number: int) -> int | None:
    """Which record is that of a process's parent: the last one of its number that began before."""
    own = records[number]
    fork = own.fork
    best: int | None = None
    for other, record in enumerate(records):
        if fork is not None and record.started == fork.parent_started:
            return other
        if record.inner == own.parent and record.started < own.started:
            best = other
    return best
