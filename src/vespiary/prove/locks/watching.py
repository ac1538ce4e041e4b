"""The records of a run, as they appear during the run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vespiary.prove.locks import log
from vespiary.prove.locks.live import Watch
from vespiary.prove.locks.outcome import Coverage
from vespiary.prove.locks.record import Record
from vespiary.prove.locks.stalls import Stall, Stalls
from vespiary.prove.locks.together import Together, families

if TYPE_CHECKING:
    from vespiary.prove.locks.findings import Finding
    from vespiary.prove.locks.statistics import Statistics

__all__ = ["Watcher"]


class Watcher:
    """The records of a run, as they come.

    Attributes:
        stalls: Those that are over, or whose processes have ended.
        stuck: The processes of a deadlock.
        findings: What was found in records that were looked through.
        coverage: What was checked in them.
        figures: Of each process, in the full mode.
        took: The processes that took a lock.
    """

    def __init__(
        self,
        folder: Path,
        stall_seconds: float,
        on_live: Callable[[Finding], None],
    ) -> None:
        """Watch the records that come into a folder."""
        self._folder = folder
        self._on_live = on_live
        self._stalls = Stalls(stall_seconds)
        self._stalled: list[tuple[Stall, Finding]] = []
        self._watch = Watch(folder=folder)
        self.stalls: list[Finding] = []
        self.stuck: list[int] = []
        self.findings: list[Finding] = []
        self.coverage = Coverage()
        self.figures: list[Statistics] = []
        self.took: set[int] = set()

    def look(self) -> Finding | None:
        """The first deadlock; stalls are handed over as they come."""
        found = self._watch.look()
        if found is not None:
            from vespiary.prove.locks.analysis import deadlock

            together, circle = found
            pids = (together.record(thread.number).pid for thread in circle.threads)
            self.stuck = list(dict.fromkeys(pids))
            return deadlock(together, circle)
        for each in self._stalls.new(self._watch.views):
            from vespiary.prove.locks.analysis import stall

            finding = stall(each)
            self._stalled.append((each, finding))
            self._on_live(finding)
        self._retire()
        return None

    def take_rest(self, *, was_stuck: bool) -> None:
        """Look through all that is left when the program has ended."""
        self._watch.refresh()
        self._settle(self._watch.records)
        while self._retire():
            self._watch.refresh()
        for family in families(self._watch.records):
            self._take(family, was_stuck=was_stuck)
        unread = len(list(self._folder.glob("*.locks"))) - len(self._watch.records)
        if unread > 0:
            self.coverage.lost["records of processes"] += unread

    def _settle(self, records: Collection[Record]) -> None:
        """Take the stalls in records; one that has ended fails no build."""
        others = []
        for each, finding in self._stalled:
            if any(record in records for record in each.together.records):
                may_pass = finding.may_pass or not each.lasts
                self.stalls.append(replace(finding, may_pass=may_pass))
            else:
                others.append((each, finding))
        self._stalled = others

    def _retire(self) -> bool:
        gone = self._watch.retired()
        self._settle(gone)
        for record in gone:
            self._take(Together([record]))
            log.remove(record)
            record.discard()
        return bool(gone)

    def _take(self, family: Together, *, was_stuck: bool = False) -> None:
        """Look through what processes did: what there is to find, and how much there was."""
        if any(record.size != (0, 0) for record in family.records):
            from vespiary.prove.locks.analysis import analyse

            entangled: list[frozenset[int]] = []
            self.findings += analyse(family, entangled.append, with_classes=True)
            self.coverage.entangled += sum(map(len, entangled))
        for record in family.records:
            orders = sum(1 for _ in record.edges())
            lost = Counter(record.lost)
            self.coverage += Coverage(1, record.lock_count, record.operations, orders, lost)
            if orders:
                from vespiary.prove.locks.unseen import unseen

                self.coverage.gaps += unseen(record)
            if record.operations:
                self.took.add(record.inner)
            kept = log.log_of(record)
            if kept is not None:
                from vespiary.prove.locks.statistics import statistics

                until = time.monotonic_ns() if was_stuck else 0
                of_process = statistics(record, kept, until)
                if of_process.acquisitions or of_process.lost:
                    self.figures.append(of_process)
                self.coverage.lost["acquisitions"] += kept.lost
                kept.close()

    def living(self) -> list[int]:
        """The processes with a record that live."""
        return [record.pid for record in self._watch.records if record.lives]
