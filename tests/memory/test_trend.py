"""The verdict on made-up series: what grows, what is flat, and what is unclear."""

import math
import random
from collections.abc import Callable

import pytest

from vespiary.prove.acceptance.work.verdicts import trend_from
from vespiary.prove.memory.trend import Trend, at_once, judge

MIB = 1 << 20
SECONDS = 60.0
COUNT = 1500

Level = Callable[[float], float]
Make = Callable[[random.Random], Level]


def noisy(level: Level, spread: float, chance: random.Random) -> Level:
    return lambda at: level(at) + chance.gauss(0, spread)


def judged(make: Make, seed: int, seconds: float = SECONDS) -> Trend:
    level = make(random.Random(seed))
    times = [seconds * number / COUNT for number in range(COUNT)]
    return judge(times, [level(at) for at in times])


def constant(chance: random.Random) -> Level:
    return lambda at: 50 * MIB


def noise(chance: random.Random) -> Level:
    return noisy(lambda at: 50 * MIB, 0.5 * MIB, chance)


def cache_that_levels_off(chance: random.Random) -> Level:
    full = chance.uniform(3, 25)
    return noisy(lambda at: (30 + 80 * min(1, at / full)) * MIB, 0.1 * MIB, chance)


def slow_start(chance: random.Random) -> Level:
    tau = chance.uniform(1, 4)
    return noisy(lambda at: (30 + 80 * (1 - math.exp(-at / tau))) * MIB, 0.1 * MIB, chance)


def fragmented_heap(chance: random.Random) -> Level:
    state = 60.0

    def level(at: float) -> float:
        nonlocal state
        state += chance.gauss(0, 0.05) - 0.02 * (state - 60)
        return state * MIB

    return level


def garbage_collector(chance: random.Random) -> Level:
    period, height = chance.uniform(0.5, 3), chance.uniform(1, 30)
    return noisy(lambda at: (50 + height * (at / period % 1)) * MIB, 0.2 * MIB, chance)


def pages_touched_late(chance: random.Random) -> Level:
    return lambda at: 20 * MIB + 4096 * int(at / 6)


def shrinking(chance: random.Random) -> Level:
    return noisy(lambda at: (90 - at) * MIB, 0.1 * MIB, chance)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "make",
    [
        constant,
        noise,
        cache_that_levels_off,
        slow_start,
        fragmented_heap,
        garbage_collector,
        pages_touched_late,
        shrinking,
    ],
)
def test_what_does_not_leak_is_flat(make: Make, seed: int) -> None:
    trend = judged(make, seed)
    assert trend.verdict == "flat", trend


@pytest.mark.parametrize("rate", [0.02, 0.1, 1, 10])
@pytest.mark.parametrize("seed", range(4))
def test_a_plain_leak_grows_with_its_slope_within_the_interval(seed: int, rate: float) -> None:
    trend = judged(lambda chance: lambda at: (50 + rate * at) * MIB + chance.random(), seed)
    assert trend.verdict == "grows", trend
    assert trend.per_second is not None
    assert trend.per_second.low <= rate * MIB * 1.01
    assert trend.per_second.high >= rate * MIB * 0.99
    assert trend.per_second.estimate == pytest.approx(rate * MIB, rel=0.05)


def leak_under_noise(chance: random.Random) -> Level:
    return noisy(lambda at: (50 + 0.1 * at) * MIB, 0.2 * MIB, chance)


def leak_under_garbage(chance: random.Random) -> Level:
    return noisy(lambda at: (50 + 0.3 * at + 10 * (at / 1.7 % 1)) * MIB, 0.1 * MIB, chance)


def leak_in_steps(chance: random.Random) -> Level:
    return lambda at: (50 + int(at / 3)) * MIB


def leak_behind_a_cache(chance: random.Random) -> Level:
    return noisy(lambda at: (30 + 80 * min(1, at / 12) + 0.3 * at) * MIB, 0.1 * MIB, chance)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "make", [leak_under_noise, leak_under_garbage, leak_in_steps, leak_behind_a_cache]
)
def test_a_leak_is_seen_behind_what_comes_and_goes(make: Make, seed: int) -> None:
    trend = judged(make, seed)
    assert trend.verdict == "grows", trend


def still_filling(chance: random.Random) -> Level:
    tau = chance.uniform(15, 40)
    return noisy(lambda at: (30 + 80 * (1 - math.exp(-at / tau))) * MIB, 0.1 * MIB, chance)


@pytest.mark.parametrize("seed", range(8))
def test_growth_that_slows_down_is_unclear(seed: int) -> None:
    trend = judged(still_filling, seed)
    assert (trend.verdict, trend.reason) == (
        "unclear",
        "it grows more and more slowly: a longer run may decide",
    )


def random_walk(chance: random.Random) -> Level:
    state = 60.0

    def level(at: float) -> float:
        nonlocal state
        state += chance.gauss(0, 0.05)
        return state * MIB

    return level


def test_a_random_walk_is_hardly_ever_called_a_leak() -> None:
    verdicts = [judged(random_walk, seed).verdict for seed in range(50)]
    assert verdicts.count("grows") <= 5


def levels_of_a_fragmented_heap(chance: random.Random) -> Level:
    """What a C library keeps after each collection differs."""
    steps = [chance.uniform(37.5, 43) for _ in range(100)]
    return lambda at: steps[int(at / 2.3)] * MIB


def test_levels_that_jump_up_and_down_are_flat_in_a_minute() -> None:
    verdicts = [judged(levels_of_a_fragmented_heap, seed).verdict for seed in range(50)]
    assert verdicts.count("flat") >= 45
    assert "grows" not in verdicts


def test_few_samples_or_a_short_time_are_unclear_with_the_reason() -> None:
    trend = judge([0.0, 1.0], [1.0, 2.0])
    assert trend.verdict == "unclear"
    assert trend.reason == "too short: 2 samples over 1.0 s (needed: 40 over 1 s or more)"
    assert judge([], []).verdict == "unclear"
    short = [number / 1000 for number in range(500)]
    assert judge(short, short).verdict == "unclear"


def test_the_start_of_a_program_that_soon_ends_is_not_called_growth() -> None:
    times = [number * 0.01 for number in range(106)]
    trend = judge(times, [(8 + 6 * at) * MIB for at in times])
    assert trend.verdict == "unclear"
    assert trend.reason == "it may still be starting: a longer run may decide"
    times = [number * 0.04 for number in range(130)]
    assert judge(times, [(8 + 6 * at) * MIB for at in times]).verdict == "grows"


def test_a_leak_is_found_in_a_program_whose_end_is_known_late() -> None:
    times = [number * 0.02 for number in range(500)]
    levels = [(8 + at) * MIB if at < 8.5 else 0 for at in times]
    units = [int(1000 * min(at, 8.5)) for at in times]
    trend = judge(times, levels, units)
    assert trend.verdict == "grows"
    assert trend.per_unit is not None
    assert trend.per_unit.estimate == pytest.approx(MIB / 1000, rel=0.01)


def test_memory_that_a_server_takes_before_it_is_ready_is_not_called_growth() -> None:
    """A server that loads its data for 5 s, and serves for 3 s."""
    samples = [
        {
            "seconds": at,
            "private_bytes": (20 + 10 * min(at, 5.0)) * MIB,
            "shared_bytes": 0,
            "units": 0,
        }
        for at in (number * 0.02 for number in range(400))
    ]
    process = {"began_seconds": 0.0, "ended_seconds": 8.0}

    def verdict(count: int, seconds: float) -> str:
        return trend_from({"samples": samples[:count], "processes": [process]}, seconds).verdict

    assert verdict(260, 0.0) == "grows"
    assert verdict(260, 5.0) == "unclear"
    assert verdict(400, 5.0) == "flat"
    assert verdict(400, 9.0) == "unclear"


PAGES_OF_TWO_WORKERS = [
    *((0.0, 0), (0.03, 171), (0.05, 373), (0.09, 419), (0.15, 425), (0.25, 431), (0.35, 436)),
    *((0.45, 445), (0.66, 447), (0.87, 448), (0.98, 452), (1.1, 458), (1.19, 459), (1.29, 466)),
    *((1.39, 467), (1.49, 468), (1.71, 470), (1.91, 471), (2.01, 472), (2.13, 473), (2.21, 474)),
    *((2.29, 489), (2.42, 490), (2.54, 492), (2.74, 493), (2.85, 494), (3.06, 496)),
]
"""Of examples/workers_chat.py in its first seconds, recorded: when how many more were in use."""


def test_pages_that_workers_use_for_the_first_time_are_not_called_growth() -> None:
    times = [number * 0.02 for number in range(157)]
    pages = dict(PAGES_OF_TWO_WORKERS)
    levels = [27 * MIB + 4096 * pages[max(each for each in pages if each <= at)] for at in times]
    units = [int(1200 * at) for at in times]
    for work in (units, None):
        trend = judge(times, levels, work, processes=3)
        assert trend.verdict == "flat", trend


@pytest.mark.parametrize("seed", range(8))
def test_pages_used_for_the_first_time_are_not_called_growth_and_a_leak_of_as_many_is(
    seed: int,
) -> None:
    """The same, straighter than any program was seen: a page in each few hundredths of a second."""
    chance = random.Random(seed)
    processes = chance.randint(1, 16)
    pages = chance.uniform(15, 30) * processes  # Per second.

    def verdict(seconds: float) -> str:
        times = [number * 0.02 for number in range(int(seconds * 50))]
        levels = [10 * MIB * processes + 4096 * int(pages * at) for at in times]
        units = [int(1200 * at) for at in times]
        return judge(times, levels, units, processes).verdict

    assert verdict(3.0) != "grows"
    assert verdict(40.0) == "grows"


def test_processes_that_follow_each_other_are_not_there_at_once() -> None:
    assert at_once([]) == 1
    assert at_once([(0.0, 9.0), (1.0, 2.0), (2.5, 2.5), (3.0, 4.0)]) == 2
    assert at_once([(0.0, 9.0), (1.0, 2.0), (2.0, 3.0)]) == 3


def test_what_is_freed_at_the_end_does_not_count() -> None:
    times = [number * 0.04 for number in range(1500)]
    levels = [(50 + at) * MIB if at < 58 else 10.0 for at in times]
    assert judge(times, levels).verdict == "grows"


def test_growth_per_unit_of_work_does_not_depend_on_when_the_work_is_done() -> None:
    times = [number * 0.04 for number in range(1500)]
    units = [int(at * at * 100) for at in times]
    trend = judge(times, [50.0 * MIB + 100 * done for done in units], units)
    assert trend.per_unit is not None
    assert trend.per_unit.estimate == pytest.approx(100, rel=0.03)
    idle = judge(times, [50.0 * MIB] * 1500, [0] * 1500)
    assert idle.per_unit is None


def paused(at: float) -> float:
    """Half of a run of 10 s does nothing: the machine is busy."""
    return 8000 * (min(at, 3.0) + max(0.0, at - 8.0))


def hastened(at: float) -> float:
    return 2000 * at + 6000 * max(0.0, at - 5.0)


def slowed(at: float) -> float:
    """Other programs take more and more of the processors."""
    return 8000 * at - 350 * at * at


@pytest.mark.parametrize("work", [paused, hastened, slowed])
def test_a_leak_per_message_grows_however_unevenly_the_messages_come(work: Level) -> None:
    times = [number * 0.02 for number in range(500)]
    units = [int(work(at)) for at in times]
    levels = [30 * MIB + 184 * done // 4096 * 4096 for done in units]
    trend = judge(times, levels, units)
    assert (trend.verdict, trend.reason) == ("grows", "it grows steadily with the work")
    assert trend.per_unit is not None
    assert trend.per_unit.estimate == pytest.approx(184, rel=0.01)
    assert judge(times, levels).verdict == "unclear"
    assert judge(times, [30.0 * MIB] * 500, units).verdict == "flat"


@pytest.mark.parametrize("seed", range(8))
def test_work_does_not_make_a_leak_of_what_slows_down_or_varies(seed: int) -> None:
    times = [SECONDS * number / COUNT for number in range(COUNT)]
    chance = random.Random(seed)
    done = 0
    units = [done := done + chance.choice([0, 0, 0, 900]) for _ in times]
    for make, verdicts in ((still_filling, {"unclear"}), (garbage_collector, {"flat"})):
        level = make(random.Random(seed))
        assert judge(times, [level(at) for at in times], units).verdict in verdicts
