"""Whether memory grows: "grows", "flat" or "unclear", with the slope and its interval.

What makes this hard is that programs which do not leak grow too: until they are warm, between two
runs of a garbage collector, while a heap fragments. What was chosen:

1. **Warm-up** is cut off by the rule MSER (White, "An effective truncation heuristic for bias
   reduction in simulation output", Simulation 69, 1997): where the rest has the least standard
   error, nearly; half of the run at most. The last twentieth of a run, in which a program frees
   what it has, is omitted too.
2. **Blocks.** The rest is cut into blocks of equal length, and each is represented by its lowest
   samples. What comes and goes (garbage, buffers in use) is not in them; what leaks
   does. It is done with several numbers of blocks, because a block must be longer than a garbage
   collector's period, which is not known.
3. **Slope and interval** are those of Theil and Sen: the median of the slopes between all pairs of
   blocks, with the order statistics that Kendall's tau allows (Sen, JASA 63, 1968). Outliers hardly
   move them.
4. **"grows"** takes more than an interval above zero, for every number of blocks: growth that
   matters besides the level, that stands out of what the blocks vary by, in both halves of the
   time, and that is not about to end. **"flat"** takes an interval so narrow that not much growth
   can hide in it. Everything else is **"unclear"**, with the reason.
5. **Allocators** reserve much memory at once (CPython 1 MiB, a thread's heap in glibc 64 MiB), and
   its pages come into use one by one, each time more is in use than ever before. Two workers that
   CPython forked took 240 KiB in this way in the first 3 s of work, as straight as a leak, 300 KiB
   more in the next 20 s, and then nothing. So in the first half minute growth must be more than
   that, for each process. Less is "flat" or "unclear" until it has lasted.
6. **Work.** A leak per message grows with the messages. On a busy machine these come unevenly, so
   the growth over time is uneven too. If units of work are reported and the time gives no verdict,
   growth is judged once more over the work, in blocks that have the same share of it.

A series of random steps deceives the interval, which takes blocks as independent; most are seen
through by comparing growth with the blocks' variation, and the halves with each other.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import median
from typing import Literal

from vespiary._counted import counted

__all__ = ["CONFIDENCE", "Slope", "Trend", "Verdict", "at_once", "judge"]

Verdict = Literal["grows", "flat", "unclear"]

_SLOWING = "it grows more and more slowly"
_LITTLE = "so little may be memory that is used for the first time"
CONFIDENCE = 0.99
_DEVIATIONS = 2.5758
"""Of the normal distribution, for that confidence."""

_LOOSE_DEVIATIONS = 1.6449
"""The same for 0.95 on one side: for "flat", that there is no more growth than may be hidden; and
for "grows" at the larger blocks, which are few."""

_SAMPLES_MIN = 40
_SECONDS_MIN = 1.0
_GROWS_SECONDS_MIN = 1.0
"""The rest after the warm-up must be that long to be called growth: in less, many programs are
still starting."""

_BLOCKS = (20, 14, 10, 7)
_WARM_UP_BLOCKS = 60
_NEARLY_LEAST = 1.5
"""The earliest cut whose error (squared) is at most this many times the least is taken."""

_LOWEST = 0.02
_COOL_DOWN = 0.05
"""The share of the samples that is omitted at the end, where a program frees what it has."""

_UNITS_MIN = 100
"""Growth per unit of work is not reported below this many."""

_MATTERS_BYTES, _MATTERS_SHARE = 128 << 10, 0.002
"""Growth over the window below this is not called growth: single pages touched late."""

_RESERVED_BYTES, _RESERVED_SECONDS = 512 << 10, 30.0
"""What each process may take of memory that its allocators have reserved: so much at first, and
nothing after that time."""

_HIDDEN_BYTES, _HIDDEN_SHARE, _HIDDEN_SECONDS = 2 << 20, 0.1, 30.0
_HIDDEN_BYTES_MIN = 256 << 10
"""Growth that may hide in what is called flat: so much, or that share of the level, in so many
seconds or more, and less in less; but that much always."""

_VARIATION = 8.0
"""How many times the blocks' variation the growth must be."""

_VARIATION_OF_LITTLE = 20.0
"""The same for growth that is little: a heap that fragments creeps up, and a leak goes straight."""

_STEADY = 0.5
"""The share of the slope that each half of the time must have at least."""

_SAME = 0.9
"""The share that the lesser slope by work of both halves must have of the greater one: what a
program loses with each unit is the same for each."""

_SLOWER = 0.7
"""Growth whose later half has less than this share of the earlier half's slope may end."""


@dataclass(frozen=True, slots=True)
class Slope:
    """A slope with its interval at the confidence `CONFIDENCE`."""

    estimate: float
    low: float
    high: float

    def times(self, factor: float) -> Slope:
        """In another unit."""
        return Slope(self.estimate * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class Trend:
    """What is known of growth.

    Attributes:
        verdict: `grows`, `flat` or `unclear`.
        reason: Why, in a sentence.
        per_second: Bytes per second; None if there are too few samples.
        per_unit: Bytes per unit of work, if units were reported.
        warm_up_seconds: What was cut off at the start.
    """

    verdict: Verdict
    reason: str
    per_second: Slope | None = None
    per_unit: Slope | None = None
    warm_up_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Block:
    seconds: float
    units: float
    level: float


def judge(
    seconds: Sequence[float],
    levels: Sequence[float],
    units: Sequence[int] | None = None,
    processes: int = 1,
) -> Trend:
    """Judge a series of memory levels.

    Args:
        seconds: When each sample was taken, rising.
        levels: Bytes.
        units: Units of work done until then, if they are reported.
        processes: How many processes use that memory.
    """
    units = units if units is not None else [0] * len(seconds)
    count = _until_freed(levels)
    seconds, levels, units = seconds[:count], levels[:count], units[:count]
    if count < _SAMPLES_MIN or seconds[-1] - seconds[0] < _SECONDS_MIN:
        span = seconds[-1] - seconds[0] if count else 0.0
        needed = f"needed: {_SAMPLES_MIN} over {_SECONDS_MIN:g} s or more"
        samples = counted(count, "sample")
        return Trend("unclear", f"too short: {samples} over {span:.1f} s ({needed})")
    end = count - math.ceil(count * _COOL_DOWN)
    cut = _warm_up(levels[:end])
    seconds, levels, units = seconds[cut:end], levels[cut:end], units[cut:end]
    scales = [_blocks(seconds, units, levels, number) for number in _BLOCKS]
    slopes = [theil_sen(_points(blocks)) for blocks in scales]
    verdict, reason, chosen = _verdict(scales, slopes, processes)
    has_work = units[-1] - units[0] >= _UNITS_MIN
    # Work that becomes slower makes a leak slower too.
    if verdict == "unclear" and has_work:
        by_work = _by_work(seconds, units, levels, processes)
        if by_work is not None:
            return Trend("grows", "it grows steadily with the work", slopes[0], by_work, seconds[0])
    per_unit = _per_unit(scales[chosen:]) if has_work else None
    return Trend(verdict, reason, slopes[chosen], per_unit, seconds[0])


def _until_freed(levels: Sequence[float]) -> int:
    """How many samples there are until a program that ends has freed everything.

    On a busy machine it may wait long for a processor then, before its end is known.
    """
    count = len(levels)
    while count and levels[count - 1] == 0:
        count -= 1
    return count


def _per_unit(scales: Sequence[Sequence[_Block]]) -> Slope | None:
    """The slope by work, with the most blocks in each of which some was reported."""
    for blocks in scales:
        if all(a.units < b.units for a, b in pairwise(blocks)):
            return theil_sen([(block.units, block.level) for block in blocks])
    return None


def at_once(spans: Iterable[tuple[float, float]]) -> int:
    """How many processes there were at once at most, and 1 at least.

    Args:
        spans: When each was there, from and until.
    """
    known = list(spans)
    counts = (sum(began <= at <= ended for began, ended in known) for at, _ in known)
    return max(counts, default=1)


def _by_work(
    seconds: Sequence[float], units: Sequence[int], levels: Sequence[float], processes: int
) -> Slope | None:
    """The slope by work if memory grows steadily with it; None if it does not, or it is unknown."""
    span = seconds[-1] - seconds[0]
    if span < _GROWS_SECONDS_MIN:
        return None
    scales = []
    for number in _BLOCKS:
        done = units[-1] - units[0]
        inner = [bisect_left(units, units[0] + done * each / number) for each in range(1, number)]
        edges = [0, *inner, len(units)]
        if any(start >= end for start, end in pairwise(edges)):
            return None  # Too much was done at once to see what it took.
        blocks = _cut(seconds, units, levels, edges)
        scales.append([(block.units, block.level) for block in blocks])
    slope = theil_sen(scales[0])
    if slope.low <= 0 or any(theil_sen(each, _LOOSE_DEVIATIONS).low <= 0 for each in scales):
        return None
    gain = slope.estimate * (scales[0][-1][0] - scales[0][0][0])
    level = max(1.0, median(level for _, level in scales[0]))
    if not _matters(gain, level, span, processes):
        return None
    if _doubt(scales[0], slope.estimate, _VARIATION_OF_LITTLE):
        return None
    half = len(scales[0]) // 2
    earlier, later = (theil_sen(part).estimate for part in (scales[0][:half], scales[0][half:]))
    return slope if min(earlier, later) >= _SAME * max(earlier, later) else None


def theil_sen(points: Sequence[tuple[float, float]], deviations: float = _DEVIATIONS) -> Slope:
    """The median of the slopes between points, and Sen's interval for it."""
    count = len(points)
    slopes = sorted((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2))
    spread = deviations * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    below = max(0, math.floor((len(slopes) - spread) / 2))
    return Slope(median(slopes), slopes[below], slopes[len(slopes) - 1 - below])


def _blocks(
    seconds: Sequence[float], units: Sequence[float], levels: Sequence[float], number: int
) -> list[_Block]:
    edges = [len(seconds) * each // number for each in range(number + 1)]
    return _cut(seconds, units, levels, edges)


def _cut(
    seconds: Sequence[float], units: Sequence[float], levels: Sequence[float], edges: Sequence[int]
) -> list[_Block]:
    blocks = []
    for start, end in pairwise(edges):
        level = _lowest(levels[start:end])
        low = [each for each in range(start, end) if levels[each] <= level]
        blocks.append(
            _Block(
                sum(seconds[each] for each in low) / len(low),
                sum(units[each] for each in low) / len(low),
                level,
            )
        )
    return blocks


def _points(blocks: Sequence[_Block]) -> list[tuple[float, float]]:
    return [(block.seconds, block.level) for block in blocks]


def _lowest(levels: Sequence[float]) -> float:
    return sorted(levels)[int(len(levels) * _LOWEST)]


def _warm_up(levels: Sequence[float]) -> int:
    """How many samples belong to the warm-up."""
    number = min(_WARM_UP_BLOCKS, len(levels) // 4)
    edges = [len(levels) * each // number for each in range(number + 1)]
    lows = [_lowest(levels[start:end]) for start, end in pairwise(edges)]
    errors: dict[int, float] = {}
    total = squares = 0.0
    base = lows[-1]  # Differences keep their digits.
    for start in range(number - 1, -1, -1):
        value = lows[start] - base
        total += value
        squares += value * value
        count = number - start
        if start <= number // 2:
            errors[start] = max(0.0, squares - total * total / count) / count**2
    good_enough = min(errors.values()) * _NEARLY_LEAST
    return edges[min(start for start, error in errors.items() if error <= good_enough)]


def _verdict(
    scales: Sequence[Sequence[_Block]], slopes: Sequence[Slope], processes: int
) -> tuple[Verdict, str, int]:
    """The verdict, its reason, and which number of blocks it rests on."""
    finest = scales[0]
    span = finest[-1].seconds - finest[0].seconds
    level = max(1.0, median(block.level for block in finest))
    gain = slopes[0].estimate * span
    loose = [theil_sen(_points(blocks), _LOOSE_DEVIATIONS) for blocks in scales]
    hidden = _hidden(level, span)
    doubt = "it varies too much"
    if span < _GROWS_SECONDS_MIN:
        doubt = "it may still be starting"
    elif slopes[0].low > 0 and all(slope.low > 0 for slope in loose):
        factor = _VARIATION if gain > hidden else _VARIATION_OF_LITTLE
        doubt = _doubt(_points(finest), slopes[0].estimate, factor)
        if not doubt and _matters(gain, level, span, processes):
            return "grows", "it grows steadily", 0
        doubt = doubt or _LITTLE
    for number, slope in enumerate(loose):
        if slope.high * span <= hidden:
            return "flat", "its variation is too small to hide growth that matters", number
    return "unclear", f"{doubt}: a longer run may decide", len(slopes) - 1


def _hidden(level: float, span: float) -> float:
    """The growth in so many seconds that may hide in what is called flat."""
    most = max(_HIDDEN_BYTES, _HIDDEN_SHARE * level) * min(1.0, span / _HIDDEN_SECONDS)
    return max(_HIDDEN_BYTES_MIN, most)


def _matters(gain: float, level: float, span: float, processes: int) -> bool:
    """Whether growth in so many seconds is more than what is used for the first time."""
    reserved = _RESERVED_BYTES * processes * max(0.0, 1 - span / _RESERVED_SECONDS)
    return gain >= max(_MATTERS_BYTES, _MATTERS_SHARE * level, reserved)


def _doubt(points: Sequence[tuple[float, float]], slope: float, factor: float) -> str:
    """Why growth may not continue; empty if it does.

    It must be so many times (`factor`) what the blocks vary by.
    """
    half = len(points) // 2
    earlier, later = theil_sen(points[:half]), theil_sen(points[half:])
    if _slows_down(earlier, later):
        return _SLOWING
    span = points[-1][0] - points[0][0]
    if slope * span < factor * _variation(points, slope):
        return "its growth is small compared with its variation"
    # Both halves of a leak grow, and those of steps at random do not.
    is_steady = min(earlier.estimate, later.estimate) >= _STEADY * slope
    return "" if is_steady else "it grows only part of the time"


def _variation(points: Sequence[tuple[float, float]], slope: float) -> float:
    """The median distance of the blocks from the line."""
    rest = [level - slope * at for at, level in points]
    middle = median(rest)
    return median(abs(each - middle) for each in rest)


def _slows_down(earlier: Slope, later: Slope) -> bool:
    """Whether the later half grows clearly less than the earlier one."""
    is_less = later.estimate < _SLOWER * earlier.estimate
    return is_less and (later.low <= 0 or later.high < earlier.estimate)
