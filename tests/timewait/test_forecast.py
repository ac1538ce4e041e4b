"""Forecasts, in virtual time."""

from collections import Counter, deque

import pytest

from vespiary.prove.timewait.budgets import Growth, uses
from vespiary.prove.timewait.forecast import SLOTS_PER_SECOND, rate_of, seconds_until
from vespiary.prove.timewait.kernel import TIME_WAIT_SECONDS, Kernel
from vespiary.prove.timewait.ports import BIND, CONNECT
from vespiary.prove.timewait.tally import Budget, Cell

FAR = Budget("192.0.2.1", "198.51.100.7", 443)
NEAR = Budget("127.0.0.1", "127.0.0.1", 6379)
DEFAULTS = {
    "net.ipv4.ip_local_port_range": "32768 60999",
    "net.ipv4.tcp_tw_reuse": "2",
    "net.ipv4.tcp_timestamps": "1",
}
HALF = 14_116


class World:
    """Connections that a client opens and closes at a rate, second by second."""

    def __init__(self, budget: Budget = FAR) -> None:
        self.now = 0.0
        self._budget = budget
        self._ends: deque[float] = deque()

    def run(self, seconds: float, per_second: float) -> None:
        """Let time pass."""
        count = round(seconds * per_second)
        began = self.now + TIME_WAIT_SECONDS
        self._ends.extend(began + seconds * index / count for index in range(count))
        self.now += seconds
        while self._ends and self._ends[0] <= self.now:
            self._ends.popleft()

    def cells(self) -> list[Cell]:
        """What a dump shows: one half of the range first, and then the other."""
        slots: dict[int, Counter[int]] = {CONNECT: Counter(), BIND: Counter()}
        for index, end in enumerate(self._ends):
            lane = CONNECT if index < HALF else BIND
            slots[lane][int((end - self.now) * SLOTS_PER_SECOND)] += 1
        return [
            Cell(2, 6, 3, lane, self._budget, 0, its.total(), its)
            for lane, its in slots.items()
            if its
        ]

    def cliff_seconds(self) -> float | None:
        """The forecast."""
        (use,) = uses(self.cells(), 10)
        return use.cliff_seconds(Kernel(DEFAULTS), 0.0)

    @property
    def used(self) -> int:
        """Ports that are taken."""
        return len(self._ends)


@pytest.mark.parametrize("rate", [240, 300, 400])
def test_the_cliff_is_forecast_at_least_30_seconds_before_it(rate: int) -> None:
    world = World()
    warned = None
    while world.used < HALF:
        world.run(0.5, rate)
        seconds = world.cliff_seconds()
        if seconds is not None and warned is None:
            warned = world.now
    assert warned is not None
    assert world.now - warned >= 30


@pytest.mark.parametrize("rate", [240, 300, 400])
def test_the_forecast_is_right_within_a_tenth(rate: int) -> None:
    world = World()
    world.run(12, rate)
    seconds = world.cliff_seconds()
    assert seconds is not None
    assert 12 + seconds == pytest.approx(HALF / rate, rel=0.1)


@pytest.mark.parametrize("rate", [20, 100, 230])
def test_a_rate_that_never_fills_the_half_gets_no_forecast(rate: int) -> None:
    world = World()
    for _ in range(100):
        world.run(1, rate)
        assert world.cliff_seconds() is None


def test_a_burst_that_is_over_gets_no_forecast() -> None:
    world = World()
    world.run(2, 1500)
    assert world.cliff_seconds() is not None
    world.run(2.5, 0)
    assert world.cliff_seconds() is None
    world.run(30, 10)
    assert world.cliff_seconds() is None


def test_bursts_that_come_again_are_averaged() -> None:
    world = World()
    for _ in range(8):
        world.run(1, 1200)
        world.run(3, 0)
    seconds = world.cliff_seconds()
    assert seconds is not None
    assert world.now + seconds == pytest.approx(HALF / 300, abs=5)


def test_a_half_that_is_full_is_at_the_cliff_now() -> None:
    world = World()
    world.run(50, 300)
    assert world.cliff_seconds() == 0


def test_ports_that_are_reused_after_a_second_get_no_forecast() -> None:
    world = World(NEAR)
    world.run(60, 400)
    assert world.used > HALF
    assert world.cliff_seconds() is None
    world.run(1, 20_000)
    assert world.cliff_seconds() == 0


def test_exhaustion_comes_after_the_cliff() -> None:
    world = World()
    world.run(20, 600)
    (use,) = uses(world.cells(), 10)
    kernel = Kernel(DEFAULTS)
    cliff, end = use.cliff_seconds(kernel, 0.0), use.exhaustion_seconds(kernel, 0.0)
    assert cliff is not None
    assert end is not None
    assert cliff == pytest.approx(HALF / 600 - 20, abs=1)
    assert end == pytest.approx(2 * HALF / 600 - 20, abs=1)


def test_sockets_that_are_never_closed_fill_the_ports_too() -> None:
    live = Cell(2, 1, 0, CONNECT, FAR, 0, 4116, {})
    (use,) = uses([live], 10)
    assert use.cliff_seconds(Kernel(DEFAULTS), 100.0) == pytest.approx(100, rel=0.01)
    assert use.cliff_seconds(Kernel(DEFAULTS), 1.0) is None
    assert use.cliff_seconds(Kernel(DEFAULTS), 0.0) is None


def test_the_growth_of_sockets_in_use_is_measured_over_seconds() -> None:
    growth = Growth()
    rates = [growth.note(float(second), {FAR: 100 + 7 * second})[FAR] for second in range(30)]
    assert rates[:5] == [0.0] * 5
    assert rates[10:] == pytest.approx([7.0] * 20)
    assert growth.note(30.0, {}) == {}
    assert growth.note(31.0, {FAR: 5000})[FAR] == 0.0


def test_a_rate_is_taken_from_the_shortest_time_that_is_enough() -> None:
    fast = Counter(dict.fromkeys(range(100, 120), 200))
    assert rate_of(fast, TIME_WAIT_SECONDS) == pytest.approx(400)
    slow = Counter(dict.fromkeys(range(80, 120), 1))
    assert rate_of(slow, TIME_WAIT_SECONDS) == pytest.approx(2)


def test_no_limit_is_reached_by_nothing() -> None:
    nothing: Counter[int] = Counter()
    found = seconds_until(10, used=0, growth=0, slots=nothing, rate=0, hold_seconds=60)
    assert found is None
