"""A finding: what was found, and the facts that show it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

from vespiary.prove.locks.places import Frame
from vespiary.prove.locks.signatures import lock_part, signature, stack_part

__all__ = ["NOTHING", "Finding", "Kind", "LockStory", "Step", "ordered", "with_sets", "worst"]

Kind = Literal["deadlock", "inversion", "misuse", "stall", "information"]
"""What a finding is, the worst first."""

NOTHING = "nothing"
"""What a thread holds or wants that is reported for something else than its part in a circle."""


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
    so that a signature is the same in both modes. A thread that wants no lock has what it `does`
    instead, and where.
    """

    thread: str
    holds: str
    held_since: list[Frame]
    wants: str
    wanted_at: list[Frame]
    shared: bool = False
    held_stack: list[Frame] = field(default_factory=list)
    does: str = ""

    @property
    def is_event(self) -> bool:
        """Whether it is something that one thread did to one lock, and no order."""
        return self.holds == self.wants and not self.taken_at

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
        by_class: Whether it is an inversion between classes of locks, not between the locks.
        sets: The number of different sets of locks that it was found with, under one signature.
        event: What one thread did to one lock, if it is that: `relock` and the like.
        may_pass: Whether it is reported and yet fails no build: a stall that ended, or may end.
        signature: The same for the same finding in every run.
    """

    kind: Kind
    title: str
    advice: str
    process: int
    locks: list[LockStory] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    by_class: bool = False
    sets: int = 1
    event: str = ""
    may_pass: bool = False

    @property
    def is_told(self) -> bool:
        """Whether it is more than information."""
        return self.kind != "information"

    @property
    def fails(self) -> bool:
        """Whether it fails a build."""
        return self.is_told and not self.may_pass

    @cached_property
    def signature(self) -> str:
        """Sixteen hexadecimal digits: see `signatures`."""
        steps = sorted(
            f"{stack_part(step.held_since)}|{'' if step.does else stack_part(step.wanted_at)}"
            for step in self.steps
        )
        locks = {lock_part(lock.name, lock.made if lock.is_made else []) for lock in self.locks}
        if self.by_class:
            # Which locks of a class are met, and by whom, changes from run to run.
            steps, locks = [], {lock_part("", lock.made) for lock in self.locks}
        return signature([self.kind, self.title, *steps, *sorted(locks)])

    def as_json(self) -> dict[str, Any]:
        """The finding as an object of a report."""
        return {
            "kind": self.kind,
            "signature": self.signature,
            "title": self.title,
            "advice": self.advice,
            "process": self.process,
            "by_class": self.by_class,
            "sets": self.sets,
            "fails": self.fails,
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
                    "does": step.does,
                }
                for step in self.steps
            ],
        }


def _frames(frames: list[Frame]) -> list[dict[str, Any]]:
    return [frame.as_json() for frame in frames]


def with_sets(findings: Sequence[Finding]) -> Iterator[Finding]:
    """The findings of a process, each with the number of sets of locks of its signature."""
    sets: dict[str, set[frozenset[tuple[int, str]]]] = defaultdict(set)
    for finding in findings:
        sets[finding.signature].add(_locks(finding))
    for finding in findings:
        yield replace(finding, sets=len(sets[finding.signature]))


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first, each signature once: the first that has it, with the most sets of locks.

    The report of a deadlock already shows that its orders can deadlock, or that a thread takes a
    lock again for which it then waits.
    """
    once: dict[str, Finding] = {}
    for finding in findings:
        first = once.setdefault(finding.signature, finding)
        once[finding.signature] = replace(
            first,
            sets=max(first.sets, finding.sets),
            may_pass=first.may_pass and finding.may_pass,
        )
    happened = [_locks(finding) for finding in once.values() if finding.kind == "deadlock"]
    left = [
        finding
        for finding in once.values()
        if not (finding.kind == "inversion" or finding.event == "relock")
        or not any(_locks(finding) <= locks for locks in happened)
    ]
    return sorted(left, key=lambda finding: get_args(Kind).index(finding.kind))


def _locks(finding: Finding) -> frozenset[tuple[int, str]]:
    return frozenset((finding.process, lock.name) for lock in finding.locks)


def worst(findings: Iterable[Finding]) -> Kind | None:
    """The kind that decides the exit code."""
    told = [finding.kind for finding in findings if finding.fails]
    return min(told, key=get_args(Kind).index, default=None)
