"""Leaks and programs that are flat: what `vespiary memory` says of each, and after what time."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vespiary.prove.memory.outcome import trend_of
from vespiary.prove.memory.run import Measured, run
from vespiary.prove.memory.trend import Trend
from vespiary.prove.quantities import size_text

PROGRAMS = Path(__file__).parent / "programs"
RATE = 10_000


@dataclass(frozen=True)
class Case:
    """A program, and the right verdict."""

    name: str
    words: tuple[str, ...]
    verdict: str


def cases(seconds: float) -> list[Case]:
    """The programs, to run for so long."""
    span = str(seconds)
    leaks = [
        Case(f"leak of {count} B per message", ("leak.py", span, str(RATE), str(count)), "grows")
        for count in (100, 1000)
    ]
    repaired = Case("the same, repaired", ("leak.py", span, str(RATE), "0"), "flat")
    flat = [
        Case(name, (f"flat_{file}.py", span), "flat")
        for name, file in (
            ("cache that levels off", "cache"),
            ("heap that fragments", "fragments"),
            ("sawtooth of the garbage collector", "garbage"),
            ("bursts", "bursts"),
            ("JSON parsed and written", "json"),
        )
    ]
    return [*leaks, repaired, *flat]


@dataclass(frozen=True)
class Result:
    """One run of a case.

    Attributes:
        trend: What was said at the end.
        seconds: From when on it would have been said, whenever the run had ended; None if the
            verdict at the end is another.
    """

    case: Case
    trend: Trend
    seconds: float | None


def measure(seconds: float, repeats: int) -> list[list[Result]]:
    """Run all cases side by side, several times."""
    wanted = cases(seconds)
    rounds = []
    for _ in range(repeats):
        with ThreadPoolExecutor(len(wanted)) as pool:
            rounds.append(list(pool.map(_one, wanted)))
    return [list(results) for results in zip(*rounds, strict=True)]


def _one(case: Case) -> Result:
    command = [sys.executable, str(PROGRAMS / case.words[0]), *case.words[1:]]
    measured = run(command)
    trend = trend_of(measured, measured.record.samples)
    return Result(case, trend, _since(case, measured) if trend.verdict == case.verdict else None)


def _since(case: Case, measured: Measured) -> float:
    """From when on the verdict stays what it is at the end."""
    samples = measured.record.samples
    since = samples[-1].seconds
    for end in range(len(samples), 40, -max(1, len(samples) // 100)):
        if trend_of(measured, samples[:end]).verdict != case.verdict:
            break
        since = samples[end - 1].seconds
    return since


def row(results: list[Result]) -> list[str]:
    """A line of the table."""
    case = results[0].case
    right = sum(result.seconds is not None for result in results)
    times = [result.seconds for result in results if result.seconds is not None]
    others = sorted({result.trend.verdict for result in results if result.seconds is None})
    last = results[-1].trend
    slope = ""
    if last.per_unit is not None:
        unit = last.per_unit
        slope = f"{unit.estimate:.1f} B per message ({unit.low:.1f} to {unit.high:.1f})"
    elif last.per_second is not None:
        slope = f"at most {size_text(max(0.0, last.per_second.high))} per second"
    return [
        case.name,
        case.verdict,
        f"{right} of {len(results)}" + (f" (otherwise {', '.join(others)})" if others else ""),
        f"{max(times):.0f} s" if times else "",
        slope,
    ]
