"""The outcome of a run: measurements, verdict, and the comparison with what is expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from vespiary.prove.exits import of_status
from vespiary.prove.memory import exits
from vespiary.prove.memory.expectations import Comparison, Expectation, compare, name_of
from vespiary.prove.memory.record import Sample
from vespiary.prove.memory.run import Measured
from vespiary.prove.memory.trend import Trend, at_once, judge

__all__ = ["Outcome", "OutcomeName", "conclude", "trend_of"]

OutcomeName = Literal["passed", "limit", "failed", "signal", "expectation", "not-judged"]


@dataclass
class Outcome:
    """A run, and what is to be said of it.

    Attributes:
        name: What expectations and reports call it.
        measured: The run.
        trend: Whether memory grows.
        comparisons: With what is expected.
        allocations: Where Python code allocated the memory, in lines, if that was asked for.
    """

    name: str
    measured: Measured
    trend: Trend
    comparisons: list[Comparison] = field(default_factory=list)
    allocations: list[str] = field(default_factory=list)

    @property
    def result(self) -> OutcomeName:
        """How it ended, in a word; what is worse comes first."""
        if self.measured.exceeded is not None:
            return "limit"
        if self.measured.status:
            return "signal" if self.measured.status < 0 else "failed"
        results = {comparison.result for comparison in self.comparisons}
        if "above" in results:
            return "expectation"
        return "not-judged" if "not judged" in results else "passed"

    @property
    def exit_code(self) -> int:
        """The exit code of `vespiary memory`."""
        codes = {
            "limit": exits.LIMIT,
            "expectation": exits.EXPECTATION,
            "not-judged": exits.NOT_JUDGED,
        }
        return codes.get(self.result, of_status(self.measured.status))


def conclude(
    measured: Measured,
    name: str | None,
    expected: Expectation | None,
    within: tuple[float, float] | None = None,
) -> Outcome:
    """Judge a run.

    Args:
        measured: The run.
        name: What it is called; the command by default.
        expected: What is expected of it.
        within: Two times on the monotonic clock, between which growth is judged; by default the
            whole run.
    """
    samples = measured.record.samples
    if within is not None:
        first, last = (at - measured.began for at in within)
        samples = [sample for sample in samples if first <= sample.seconds <= last]
    trend = trend_of(measured, samples)
    outcome = Outcome(name_of(name, measured.command), measured, trend)
    if expected is not None:
        outcome.comparisons = compare(expected, measured.record.peak, trend)
    return outcome


def trend_of(measured: Measured, samples: Sequence[Sample]) -> Trend:
    """Judge whether memory grows in these samples of a run."""
    return judge(
        [sample.seconds for sample in samples],
        [sample.memory.used for sample in samples],
        [sample.work for sample in samples] if measured.is_work_reported else None,
        at_once((each.began, each.ended) for each in measured.record.processes),
    )
