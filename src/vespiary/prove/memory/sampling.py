"""A limit without control groups: measure the processes often, and end them when they use too much.

A program can exceed the limit by what it allocates between two measurements. So the time between
them is the time in which the program could reach the limit if it allocated at the highest speed
that page faults allow. A measurement is cheap if shared pages count fully for each process
(`unshared`): this sum is never too small. Only if it is above the limit, the shares are read, which
takes longer. So processes that share memory are not ended too early, and a single process is
measured in a tenth of a millisecond.

It does not see files in memory (tmpfs) that no process has mapped, and the kernel's own memory.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from vespiary.prove.memory.kept import Place
from vespiary.prove.memory.processes import Memory, Tree, exact_all, together, unshared
from vespiary.prove.memory.reading import LOOK_SECONDS, Reading

__all__ = ["Sampling"]

_FASTEST = 2e9
"""Bytes per second that a program may allocate: twice what one core was seen to do."""

_LEAST_SECONDS = 0.001
_COST_MAX = 0.2
"""The share of a core that looks may take near the limit while nothing grows."""

_RECORD_COST_MAX = 0.05
"""The same of looks that only record."""

_GROWTH_BYTES = 256 << 10
"""What is called growth between two looks."""

_OLD_SECONDS = 0.05
"""How long shares are believed, with what was allocated since, while the sum is above the limit."""


class Sampling:
    """Looks at all processes below the keeper."""

    method = "sampling"

    def __init__(self, limit: int | None) -> None:
        self.place = Place()
        self._limit = limit
        self._pause = LOOK_SECONDS
        self._used = 0
        self._shares = _Shares({}, 0, 0.0, 0.0)

    def begun(self, pid: int, keeper: int) -> None:
        """Look at what is below the keeper from now on."""
        self._tree = Tree(keeper)

    def watched(self) -> tuple[int, int] | None:
        """Nothing wakes us but time."""
        return None

    def pause(self) -> float:
        """How long to wait: less the nearer the limit is."""
        return self._pause

    def is_over(self) -> bool:
        """Whether the processes use more than the limit."""
        if self._limit is None:
            return False
        began = time.perf_counter()
        pids = self._tree.look()
        summed = _summed(pids)
        used = summed
        if summed > self._limit:
            used = self._shares.used + max(0, summed - self._shares.summed)
            # Writing to pages in common makes shares grow while the sum stays.
            is_old = began - self._shares.seconds > max(_OLD_SECONDS, 5 * self._shares.cost)
            if used > self._limit or is_old:
                self._look_at_shares(pids)
                # A process that forks meanwhile counts whole, and once more in its children.
                now = self._tree.look()
                if self._shares.used > self._limit and now != self._shares.memories.keys():
                    self._look_at_shares(now)
                used = self._shares.used
        cost = time.perf_counter() - began
        least = _LEAST_SECONDS
        if used <= self._used + _GROWTH_BYTES:  # Else there is no time to lose.
            least = max(least, min(LOOK_SECONDS, cost / _COST_MAX))
        self._used = used
        self._pause = max(least, min(LOOK_SECONDS, (self._limit - used) / _FASTEST))
        return used > self._limit

    def _look_at_shares(self, pids: set[int]) -> None:
        summed = _summed(pids)
        began = time.perf_counter()
        memories = exact_all(pids)
        ended = time.perf_counter()
        self._shares = _Shares(memories, summed, began, ended - began)

    def look(self) -> Reading:
        """The memory now; of several processes only as often as it costs little."""
        pids = self._tree.look()
        if len(pids) == 1:
            return Reading(unshared(next(iter(pids))) or Memory(), 0, None)
        age = time.perf_counter() - self._shares.seconds
        # Near the limit there is no time for what is only recorded.
        is_near = self._pause < LOOK_SECONDS and bool(self._shares.memories)
        if age * _RECORD_COST_MAX > self._shares.cost and not is_near:
            self._look_at_shares(pids)
        return Reading(together(self._shares.memories.values()), 0, None)

    def processes(self) -> dict[int, Memory]:
        """The memory of each process, as it was at the last look at shares if that is young."""
        pids = self._tree.look()
        if self._shares.memories.keys() != pids or len(pids) == 1:
            self._look_at_shares(pids)
        return self._shares.memories

    def known(self) -> dict[int, Memory]:
        """What the last look at shares saw."""
        return self._shares.memories

    def statistics(self) -> tuple[dict[str, int], dict[str, float]]:
        """None: the kernel counts for control groups only."""
        return {}, {}

    def details(self) -> dict[str, object]:
        """Nothing more is known."""
        return {}

    def close(self) -> None:
        """Nothing to release."""


class _Shares(NamedTuple):
    """The last look at shares: of each process, the sum without sharing, when, how long it took."""

    memories: dict[int, Memory]
    summed: int
    seconds: float
    cost: float

    @property
    def used(self) -> int:
        return sum(memory.used for memory in self.memories.values())


def _summed(pids: set[int]) -> int:
    return sum(memory.used for memory in map(unshared, pids) if memory is not None)
