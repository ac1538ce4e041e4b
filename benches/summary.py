"""From single measurements to medians, and to ratios paired by repeat."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benches.session import Result

FOREIGN_SHARE_MAX = 0.05
"""A measurement is reported as disturbed when others took more than this of the server's core."""


@dataclass(frozen=True)
class Spread:
    """A median with the quartiles round it, and how many values it is of."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of at least one value."""
        if len(values) < 2:
            return cls(values[0], values[0], values[0], len(values))
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, len(values))


class Summary:
    """All results of a run, ready to be asked."""

    def __init__(self, results: Sequence[Result]) -> None:
        self._figures: dict[tuple[str, str], dict[int, Mapping[str, float | int]]] = {}
        self.errors: dict[tuple[str, str], str] = {}
        shares = [float(result.figures.get("foreign", 0.0)) for result in results]
        self.disturbed = sum(share > FOREIGN_SHARE_MAX for share in shares)
        self.count = len(results)
        for result in results:
            key = (result.server, result.scenario)
            if result.error:
                self.errors[key] = result.error
            else:
                self._figures.setdefault(key, {})[result.repeat] = result.figures

    def spread(self, server: str, scenario: str, figure: str) -> Spread | None:
        """A figure over all repeats; None where it was never measured."""
        repeats = self._figures.get((server, scenario))
        if not repeats:
            return None
        return Spread.of([float(figures[figure]) for figures in repeats.values()])

    def ratio(self, server: str, base: str, scenario: str, figure: str) -> Spread | None:
        """How many times the base's figure the server's is, paired by repeat."""
        ours = self._figures.get((server, scenario), {})
        theirs = self._figures.get((base, scenario), {})
        pairs = [
            float(ours[repeat][figure]) / float(theirs[repeat][figure])
            for repeat in ours
            if repeat in theirs and theirs[repeat][figure]
        ]
        return Spread.of(pairs) if pairs else None
