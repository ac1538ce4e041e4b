"""What was found in one process, each with the locks, threads and stacks that make it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, get_args

from vespiary.prove.locks.graph import Circle, circles
from vespiary.prove.locks.live import Deadlock
from vespiary.prove.locks.log import beside
from vespiary.prove.locks.names import Names
from vespiary.prove.locks.places import Frame, Places
from vespiary.prove.locks.record import GIL, KINDS, Edge, Event, Held, Record, Thread

__all__ = [
    "Finding",
    "Kind",
    "LockStory",
    "Step",
    "analyse",
    "deadlock",
    "ordered",
    "stall",
    "worst",
]

Kind = Literal["deadlock", "inversion", "misuse", "stall", "information"]
"""What a finding is, the worst first."""

_GIL_ADVICE = (
    "give the GIL away (Py_BEGIN_ALLOW_THREADS; with ctypes, CDLL instead of PyDLL) before a native"
    " lock is taken, or let go of the native lock before Python is called"
)

_SENTENCES: dict[str, tuple[Kind, str, str]] = {
    "relock": (
        "misuse",
        "a lock that is not recursive is taken again by the thread that holds it",
        "release it first, or make it recursive",
    ),
    "foreign-unlock": (
        "misuse",
        "a mutex is unlocked by a thread that does not hold it",
        "unlock it where it was locked; to signal another thread use a semaphore or a condition",
    ),
    "destroyed-held": (
        "misuse",
        "a lock is destroyed while it is held",
        "unlock it first, and make sure that nobody can still come to it",
    ),
    "ended-holding": (
        "misuse",
        "a thread has ended while it held a lock",
        "release it on every path; a robust mutex lets the next one know",
    ),
    "wait-holding": (
        "information",
        "a thread waits on a condition while it holds another lock",
        "make sure that whoever signals never needs that other lock, or release it first",
    ),
}


@dataclass(frozen=True)
class LockStory:
    """A lock that takes part: what it is, and where it was made, or at least first seen."""

    name: str
    kind: str
    made: list[Frame]
    is_made: bool = False


@dataclass(frozen=True)
class Step:
    """One thread's part: what it holds, since where, and what it wants, where.

    `held_since` is the place alone; the whole stack, where the full mode has kept it, comes apart,
    so that a signature is the same in both modes.
    """

    thread: str
    holds: str
    held_since: list[Frame]
    wants: str
    wanted_at: list[Frame]
    shared: bool = False
    held_stack: list[Frame] = field(default_factory=list)

    @property
    def taken_at(self) -> list[Frame]:
        """All that is known of where the held lock was taken."""
        return self.held_stack or self.held_since


@dataclass(frozen=True)
class Finding:
    """Something found.

    Attributes:
        kind: `inversion`, `deadlock`, `misuse`, `stall` or `information`.
        title: A sentence.
        advice: What to change.
        process: The process's number.
        locks: Those that take part.
        steps: The threads' parts, in the circle's order.
        signature: The same for the same finding in every run.
    """

    kind: Kind
    title: str
    advice: str
    process: int
    locks: list[LockStory] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    @property
    def is_told(self) -> bool:
        """Whether it is more than information."""
        return self.kind != "information"

    @property
    def signature(self) -> str:
        """Sixteen hexadecimal digits made of the functions that take part, wherever they lie."""
        parts = sorted(
            "|".join((_names(step.held_since), _names(step.wanted_at))) for step in self.steps
        )
        if not any(part.strip("|") for part in parts):
            parts = sorted(_names(lock.made) for lock in self.locks)
        text = "\n".join([self.kind, self.title, *parts])
        return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]

    def as_json(self) -> dict[str, Any]:
        """The finding as an object of a report."""
        return {
            "kind": self.kind,
            "signature": self.signature,
            "title": self.title,
            "advice": self.advice,
            "process": self.process,
            "locks": [
                {"name": lock.name, "kind": lock.kind, "made": _frames(lock.made)}
                for lock in self.locks
            ],
            "threads": sorted({step.thread for step in self.steps}),
            "stacks": [
                {
                    "thread": step.thread,
                    "holds": step.holds,
                    "held_since": _frames(step.taken_at),
                    "wants": step.wants,
                    "wanted_at": _frames(step.wanted_at),
                }
                for step in self.steps
            ],
        }


def _names(frames: list[Frame]) -> str:
    return ",".join(frame.name for frame in frames[:3])


def _frames(frames: list[Frame]) -> list[dict[str, Any]]:
    return [frame.as_json() for frame in frames]


class _Teller:
    """Turns numbers into names and stacks."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._places = Places(record)
        self._names = Names(record)
        self.threads = self._names.threads
        self.thread = self._names.thread
        self.lock_name = self._names.lock

    def noun(self, numbers: Iterable[int]) -> str:
        """What threads with these numbers are: `task` if all of them are tasks."""
        met = (self.threads.get(number) for number in numbers)
        return "task" if all(thread and thread.noun == "task" for thread in met) else "thread"

    def story(self, number: int) -> LockStory:
        lock = self._record.lock(number)
        made = [] if lock.kind == GIL else self._places.stack(lock.stack, lock.first_site)
        return LockStory(self.lock_name(number), lock.kind, made, lock.made)

    def step(self, edge: Edge) -> Step:
        return Step(
            self.thread(edge.thread),
            self.lock_name(edge.first),
            self._places.frames(edge.first_site),
            self.lock_name(edge.to),
            self._places.stack(edge.stack, edge.to_site),
            edge.to_shared,
            self._places.stack(edge.first_stack),
        )

    def waiting(self, thread: Thread, held_for: int | None) -> Step:
        """What a thread waits for now, and how it came to hold what the one before it wants."""
        assert thread.waiting is not None
        held = next((held for held in thread.held if held.lock == held_for), None)
        return Step(
            self.thread(thread.number),
            self.lock_name(held.lock) if held else "nothing that the others want",
            self._places.frames(held.site) if held else [],
            self.lock_name(thread.waiting),
            self._places.stack(thread.waiting_stack),
            thread.waiting_shared,
            self._held_stack(held),
        )

    def _held_stack(self, held: Held | None) -> list[Frame]:
        """Where a lock was taken that is held now, where the full mode has kept it."""
        if held is None or held.entry is None:
            return []
        log = beside(self._record)
        return self._places.stack(log.stack(held.entry)) if log is not None else []

    def event(self, event: Event) -> Finding:
        kind, title, advice = _SENTENCES[event.what]
        locks = [self.story(event.lock)]
        if event.what == "ended-holding" and locks[0].kind == KINDS[4]:
            kind, advice = "information", "nothing, if another thread is to release it"
        if event.what == "wait-holding" and event.other is not None:
            locks.append(self.story(event.other))
        where = self._places.stack(event.stack, event.site)
        title = title.replace("thread", self.noun([event.thread]))
        name = self.lock_name(event.lock)
        step = Step(self.thread(event.thread), name, [], name, where)
        return Finding(kind, title, advice, self._record.pid, locks, [step])


def analyse(
    record: Record, on_limit: Callable[[frozenset[int]], None] = lambda locks: None
) -> list[Finding]:
    """Everything that a record tells, the worst first, each signature once.

    `on_limit` is called with locks among which not all circles could be looked for.
    """
    teller = _Teller(record)
    is_signal = cache(lambda number: record.lock(number).signal)
    orders = [
        edge for edge in record.edges() if not is_signal(edge.first) and not is_signal(edge.to)
    ]
    found = [
        _circle(record, teller, circle) for circle in circles(orders, teller.threads, on_limit)
    ]
    found += [
        teller.event(event)
        for event in record.events()
        if event.what in _SENTENCES and not is_signal(event.lock)
    ]
    return ordered(found)


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first, each signature once: the first that has it.

    That the orders of a deadlock can deadlock is told by the deadlock itself.
    """
    once: dict[str, Finding] = {}
    for finding in findings:
        once.setdefault(finding.signature, finding)
    happened = [_locks(finding) for finding in once.values() if finding.kind == "deadlock"]
    left = [
        finding
        for finding in once.values()
        if finding.kind != "inversion" or not any(_locks(finding) <= locks for locks in happened)
    ]
    return sorted(left, key=lambda finding: get_args(Kind).index(finding.kind))


def _locks(finding: Finding) -> frozenset[tuple[int, str]]:
    return frozenset((finding.process, lock.name) for lock in finding.locks)


def _circle(record: Record, teller: _Teller, circle: Circle) -> Finding:
    locks = [teller.story(edge.first) for edge in circle.edges]
    steps = [teller.step(edge) for edge in circle.edges]
    noun = teller.noun(edge.thread for edge in circle.edges)
    if circle.threads == 1:
        title = f"one {noun} takes {len(locks)} locks in different orders"
        advice = f"harmless while no other {noun} does; keep one order all the same"
        return Finding("information", title, advice, record.pid, locks, steps)
    title = f"{circle.threads} {noun}s take {len(locks)} locks in orders that can deadlock"
    if any(lock.kind == GIL for lock in locks):
        return Finding("inversion", title, _GIL_ADVICE, record.pid, locks, steps)
    advice = (
        "choose one order for these locks and keep it everywhere; or hold only one of them at a"
        " time; or take the inner one with a try, and let go of the outer one when it fails"
    )
    return Finding("inversion", title, advice, record.pid, locks, steps)


def deadlock(record: Record, found: Deadlock) -> Finding:
    """A deadlock that has happened."""
    teller = _Teller(record)
    threads = found.threads
    noun = teller.noun(thread.number for thread in threads)
    wanted = [thread.waiting for thread in threads if thread.waiting is not None]
    steps = [
        teller.waiting(thread, threads[position - 1].waiting)
        for position, thread in enumerate(threads)
    ]
    locks = [teller.story(number) for number in wanted]
    if found.owner_gone is not None:
        title = "a thread waits for a lock whose owner has ended"
        advice = "release it on every path on which a thread can end"
    elif len(threads) == 1:
        title = f"a {noun} waits for a lock that it holds itself"
        advice = "release it first, or make it recursive"
    else:
        title = f"{len(threads)} {noun}s wait for each other"
        advice = "choose one order for these locks and keep it everywhere"
        if any(lock.kind == GIL for lock in locks):
            advice = _GIL_ADVICE
    return Finding("deadlock", title, advice, record.pid, locks, steps)


def stall(record: Record, thread: Thread, seconds: float) -> Finding:
    """A wait that lasts longer than expected."""
    teller = _Teller(record)
    assert thread.waiting is not None
    title = f"a {thread.noun} has waited for a lock for {seconds:.0f} s"
    advice = "hold the lock for less time, or find out what its holder waits for"
    locks = [teller.story(thread.waiting)]
    return Finding("stall", title, advice, record.pid, locks, [teller.waiting(thread, None)])


def worst(findings: Iterable[Finding]) -> Kind | None:
    """The kind that decides the exit code."""
    told = [finding.kind for finding in findings if finding.is_told]
    return min(told, key=get_args(Kind).index, default=None)
