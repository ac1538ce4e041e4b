"""Long waits for locks, during which neither the waiting thread nor the holder runs.

A wait is followed from holder to holder, to one that does not wait for a lock. What this holder
does is what all of them wait for. If it computes, it is only slow, and no stall is reported. If it
sleeps or waits for input, it will continue at some time: its stall is reported, but fails no build.
If only another thread can wake it, and it was not woken until the program's end, it counts as
blocked forever.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

from vespiary.prove.locks.activity import runs
from vespiary.prove.locks.facts import Thread
from vespiary.prove.locks.kinds import FUTURE, GIL, KINDS
from vespiary.prove.locks.layout import Kind
from vespiary.prove.locks.live import View
from vespiary.prove.locks.together import Together

__all__ = ["Quiet", "Stall", "Stalls"]

_LOOKS = 10
"""How often a wait is checked before it is a stall."""

_SPINS = {GIL, KINDS[Kind.SPIN]}
"""A thread that waits for one of these wakes up again and again, or never sleeps."""

_CHAIN_MAX = 8


class Quiet:
    """Things of which something is to stay the same for a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[Hashable, tuple[object, float]] = {}

    def lasts(self, key: Hashable, mark: object) -> bool:
        """Whether the mark of an object has stayed the same for the time of this watch."""
        now = time.monotonic()
        before, since = self._since.get(key, (mark, now))
        if before != mark:
            since = now
        self._since[key] = mark, since
        return now - since >= self._seconds

    def keep(self, keys: Collection[Hashable]) -> None:
        """Forget all other things."""
        self._since = {key: value for key, value in self._since.items() if key in keys}


@dataclass(frozen=True)
class Stall:
    """A wait that lasts.

    Attributes:
        together: The processes that it is in.
        waiting: The threads that wait, each for a lock of the next.
        holder: The thread that the last one waits for, which waits for no lock that is held.
        seconds: How long it lasts, at least.
    """

    together: Together
    waiting: tuple[Thread, ...]
    holder: Thread
    seconds: float

    @property
    def lasts(self) -> bool:
        """Whether the first thread is in the same wait still, or was when its process ended."""
        first = self.waiting[0]
        return any(
            thread.number == first.number
            and thread.waiting == first.waiting
            and thread.waiting_since == first.waiting_since
            for thread in self.together.threads()
        )


class Stalls:
    """The stalls of a run, each reported once."""

    def __init__(self, seconds: float) -> None:
        """Report waits that last for `seconds`."""
        self._seconds = seconds
        self._quiet = Quiet(seconds)
        self._reported: set[Hashable] = set()
        self._next = 0.0

    def new(self, views: Sequence[View]) -> list[Stall]:
        """Those that have become too long by now.

        Of the waits for one holder the longest chain is reported, and no other as long as that
        holder does not continue.
        """
        now = time.monotonic()
        if now < self._next:
            return []
        self._next = now + self._seconds / _LOOKS
        keys: set[Hashable] = set()
        longest: dict[Hashable, Stall] = {}
        for view in views:
            for thread in view.waiting():
                stall = self._stall(view, thread)
                if stall is None:
                    continue
                (key,) = view.identity([thread])
                keys.add(key)
                if self._quiet.lasts(key, _marks(stall)):
                    root = _root(stall)
                    known = longest.get(root)
                    if known is None or len(known.waiting) < len(stall.waiting):
                        longest[root] = stall
        self._quiet.keep(keys)
        found = [stall for root, stall in longest.items() if root not in self._reported]
        self._reported = set(longest)
        return found

    def _stall(self, view: View, first: Thread) -> Stall | None:
        """The chain that begins with a thread's wait for a lock; None where its end is unknown."""
        assert first.waiting is not None
        lock = view.together.lock(first.waiting)
        if first.waiting_signal or lock.signal or lock.life or lock.kind == FUTURE:
            return None  # To wait for work, or for the end of another thread, is what threads do.
        chain: list[Thread] = []
        thread = first
        while len(chain) < _CHAIN_MAX:
            holders = [] if thread.waiting is None else view.holders(thread.waiting)
            holder = next((each for each in holders if view.together.is_there(each)), None)
            if holder is None:
                break
            chain.append(thread)
            if holder in chain:
                return None  # A deadlock, or about to be seen as one.
            thread = holder
        if not chain:
            return None
        return Stall(view.together, tuple(chain), thread, self._seconds)


def _marks(stall: Stall) -> tuple[object, ...]:
    """What stays the same while none of the threads runs."""
    return tuple(_mark(stall.together, thread) for thread in (*stall.waiting, stall.holder))


def _mark(together: Together, thread: Thread) -> object:
    wait = thread.number, thread.waiting, thread.waiting_since
    is_task = thread.carrier is not None
    if is_task or (thread.waiting is not None and together.lock(thread.waiting).kind in _SPINS):
        # Of a task, whose thread continues with others, the locks that it takes are all that is
        # seen.
        return (*wait, thread.operations)
    return (*wait, runs(together.record(thread.number).pid, thread.tid))


def _root(stall: Stall) -> Hashable:
    """What all waits for one holder have in common, as long as that does not continue."""
    return stall.together.record(stall.holder.number).pid, _mark(stall.together, stall.holder)
