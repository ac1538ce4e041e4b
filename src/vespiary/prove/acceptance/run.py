"""A run of a suite: when, with which seed, and the result of each cell."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from vespiary._counted import counted
from vespiary.prove.acceptance.outcome import ERROR, FAILED, PASSED, Result

__all__ = ["Run"]


@dataclass
class Run:
    """A run of a suite.

    Attributes:
        suite: The suite's name.
        file: Its file.
        seed: What decides about everything random.
        began: In seconds since 1970.
        seconds: How long it took, regardless of changes of the system's clock.
        results: The result of each cell; of the last round where there are several.
        rounds: How often everything was run.
        lost: Hosts that were lost, and why.
        is_interrupted: Whether it was stopped before its end.
    """

    suite: str
    file: Path
    seed: int = 0
    began: float = field(default_factory=time.time)
    seconds: float = 0.0
    results: list[Result] = field(default_factory=list)
    rounds: int = 0
    lost: list[str] = field(default_factory=list)
    is_interrupted: bool = False
    _began: float = field(default_factory=time.monotonic, repr=False)

    def add(self, result: Result) -> None:
        """Take note of a result; a failure of an earlier round stays."""
        before = [each for each in self.results if each.id == result.id]
        if before and before[0].outcome != PASSED:
            return
        self.results = [each for each in self.results if each.id != result.id]
        self.results.append(result)

    def finish(self) -> None:
        """Put down how long it took."""
        self.seconds = time.monotonic() - self._began
        self.results.sort(key=lambda result: result.id)

    @property
    def failed(self) -> list[Result]:
        """What did not pass."""
        return [result for result in self.results if result.outcome != PASSED]

    @property
    def summary(self) -> str:
        """All of it in a line."""
        count = {
            outcome: sum(result.outcome == outcome for result in self.results)
            for outcome in (PASSED, FAILED, ERROR)
        }
        text = f"{counted(len(self.results), 'cell')}: {count[PASSED]} passed"
        text += f", {count[FAILED]} failed" if count[FAILED] else ""
        text += f", {count[ERROR]} could not be run" if count[ERROR] else ""
        text += "; stopped before the end" if self.is_interrupted else ""
        again = f"; --seed {self.seed} repeats it" if self.failed else ""
        return f"vespiary prove: {text} ({self.seconds:.0f} s){again}"
