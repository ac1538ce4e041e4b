"""How a run ended: its findings, and what was covered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vespiary._counted import counted

if TYPE_CHECKING:
    from vespiary.prove.locks.cores import Core
    from vespiary.prove.locks.findings import Finding
    from vespiary.prove.locks.gaps import Gap
    from vespiary.prove.locks.statistics import Statistics

__all__ = ["Coverage", "Outcome", "merge"]


@dataclass
class Coverage:
    """What was seen, and what could not be.

    Attributes:
        processes: Processes that took a lock.
        locks: Locks seen in all of them.
        operations: Locks taken.
        orders: Different orders recorded.
        lost: What found no room, by name.
        entangled: Locks with more orders among them than were looked through for circles.
        outlived: Processes that still ran when the watching ended.
        gaps: What was not watched or seen, with how many processes each is about.
        lockless: Watched programs that took no lock, with how many processes each.
    """

    processes: int = 0
    locks: int = 0
    operations: int = 0
    orders: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    entangled: int = 0
    outlived: list[str] = field(default_factory=list)
    gaps: Counter[Gap] = field(default_factory=Counter)
    lockless: Counter[str] = field(default_factory=Counter)

    @property
    def notes(self) -> list[str]:
        """What was not covered, in sentences."""
        notes: list[str] = []
        if self.lost:
            from vespiary.prove.locks.kinds import REPEATS

            notes = [
                f"{count} {name} found no room in the record"
                for name, count in self.lost.items()
                if name != REPEATS
            ]
        if self.entangled:
            notes.append(
                f"{counted(self.entangled, 'lock is', 'locks are')} taken in more orders than were"
                " looked through: there may be inversions among them that are not reported"
            )
        notes += [
            f"{process} outlived the command; what it did later was not seen (--linger)"
            for process in self.outlived
        ]
        if self.gaps:
            from vespiary.prove.locks.gaps import sentences

            notes += sentences(self.gaps)
        return notes

    def __add__(self, other: Coverage) -> Coverage:
        return Coverage(
            self.processes + other.processes,
            self.locks + other.locks,
            self.operations + other.operations,
            self.orders + other.orders,
            self.lost + other.lost,
            self.entangled + other.entangled,
            self.outlived + other.outlived,
            self.gaps + other.gaps,
            self.lockless + other.lockless,
        )


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        status: The program's own exit code; negative for a signal, as `subprocess` has it.
        deadlocked: Whether it was ended because of a deadlock.
        findings: What was found, the worst first.
        coverage: What was checked.
        asked_to_end: Whether a signal came that asks programs to end.
        statistics: Of each process, in the full mode.
        cores: Of the processes of a deadlock, where they were asked for.
    """

    status: int
    deadlocked: bool
    findings: list[Finding]
    coverage: Coverage
    asked_to_end: bool = False
    statistics: list[Statistics] = field(default_factory=list)
    cores: list[Core] = field(default_factory=list)


def merge(outcomes: Sequence[Outcome]) -> Outcome:
    """Several runs as one: each finding once, what was covered added up, the worst exit code."""
    status = next((outcome.status for outcome in outcomes if outcome.status), 0)
    deadlocked = any(outcome.deadlocked for outcome in outcomes)
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    if findings:
        from vespiary.prove.locks.findings import ordered

        findings = ordered(findings)
    coverage = sum((outcome.coverage for outcome in outcomes), Coverage())
    asked_to_end = any(outcome.asked_to_end for outcome in outcomes)
    figures = [each for outcome in outcomes for each in outcome.statistics]
    cores = [each for outcome in outcomes for each in outcome.cores]
    return Outcome(status, deadlocked, findings, coverage, asked_to_end, figures, cores)
