"""Findings that are known already: suppressions, and a baseline.

People write suppressions. A suppression describes findings that are accepted, with a reason. If it
matches no finding, it is reported, so that it can be removed. The tool writes the baseline. It
contains the signatures of the findings that existed when the tool was introduced. For each it has
the number of different combinations of locks. A new signature, or more combinations, fails a build.
`known_files` reads and writes both.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vespiary.prove.locks.findings import Finding

__all__ = ["Known", "Suppression"]


@dataclass(frozen=True)
class Suppression:
    """What may be.

    Attributes:
        reason: Why; never empty.
        kind: Only findings of this kind; None for any.
        signature: Only this finding.
        stack: Patterns of functions (`module:function`, `file.py:function`, with `*`), each of
            which must be met by some frame of the finding's stacks.
        made: The same for where its locks were made: a class of locks.
        place: The file and the entry in it.
    """

    reason: str
    kind: str | None
    signature: str | None
    stack: tuple[str, ...]
    made: tuple[str, ...]
    place: str

    def covers(self, finding: Finding) -> bool:
        """Whether it is this finding that may be."""
        if self.kind not in (None, finding.kind):
            return False
        if self.signature not in (None, finding.signature):
            return False
        frames = [
            frame.name for step in finding.steps for frame in (*step.taken_at, *step.wanted_at)
        ]
        made = [frame.name for lock in finding.locks for frame in lock.made]
        return all(fnmatch.filter(frames, pattern) for pattern in self.stack) and all(
            fnmatch.filter(made, pattern) for pattern in self.made
        )


@dataclass
class Known:
    """Findings sorted into new ones and known ones.

    Attributes:
        new: What counts.
        suppressed: What a suppression covers, with it.
        baseline: What was there before.
        unused: Suppressions that met nothing.
    """

    new: list[Finding]
    suppressed: list[tuple[Finding, Suppression]]
    baseline: list[Finding]
    unused: list[Suppression]

    @classmethod
    def sort(
        cls,
        findings: Iterable[Finding],
        suppressions: list[Suppression],
        baseline: Mapping[str, int],
    ) -> Known:
        """Sort findings."""
        known = cls([], [], [], [])
        used: set[str] = set()
        for finding in findings:
            cover = next((each for each in suppressions if each.covers(finding)), None)
            if cover is not None:
                used.add(cover.place)
                known.suppressed.append((finding, cover))
            elif finding.sets <= baseline.get(finding.signature, 0):
                known.baseline.append(finding)
            else:
                known.new.append(finding)
        known.unused = [each for each in suppressions if each.place not in used]
        return known
