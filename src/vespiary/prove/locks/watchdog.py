"""Examine a running process repeatedly, until it deadlocks or ends."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator, Mapping

from vespiary.errors import ConfigurationError
from vespiary.prove.locks.activity import runs
from vespiary.prove.locks.analysis import stall_finding
from vespiary.prove.locks.attach import Snapshot, Waiting, snapshot
from vespiary.prove.locks.findings import NOTHING, Finding, LockStory, Step
from vespiary.prove.locks.kinds import END, FUTURE
from vespiary.prove.locks.outside import doing
from vespiary.prove.locks.stalls import Quiet
from vespiary.prove.locks.target import process_of, thread_name

__all__ = ["watch"]


def watch(
    pid: int,
    seconds: float,
    stall_seconds: float,
    on_stall: Callable[[Finding], None],
) -> Snapshot | None:
    """Look at a process until it deadlocks.

    Args:
        pid: The process.
        seconds: How long to wait between two looks.
        stall_seconds: How long a thread may wait for a lock whose holder does not run either before
            that is reported.
        on_stall: Called with such a wait, once.

    Returns:
        The look that found the deadlock; None when the process has ended without one.

    Raises:
        ConfigurationError: it cannot be looked at.
    """
    stalls = _Stalls(pid, stall_seconds)
    try:
        process = os.pidfd_open(pid)
    except OSError:
        process = -1
    try:
        while True:
            try:
                seen = snapshot(pid)
            except ConfigurationError:
                if process >= 0 and _has_ended(process, 0):
                    return None
                raise
            if seen.findings:
                return seen
            for finding in stalls.new(seen):
                on_stall(finding)
            if process >= 0 and _has_ended(process, seconds):
                return None
            if process < 0:
                time.sleep(seconds)
    finally:
        if process >= 0:
            os.close(process)


def _has_ended(process: int, seconds: float) -> bool:
    """Whether a process ends within a time (pidfd_open(2): its descriptor is readable then)."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class _Stalls:
    """Waits that last while neither the thread that waits nor the holder runs."""

    def __init__(self, pid: int, seconds: float) -> None:
        self._pid = pid
        self._seconds = seconds
        self._quiet = Quiet(seconds)
        self._reported: set[int] = set()

    def new(self, seen: Snapshot) -> Iterator[Finding]:
        """Those that have become too long by now: the longest chain for each thread at its end."""
        waiting = {each.tid: each for each in seen.waiting}
        chains = [
            _chain(each, waiting)
            for each in seen.waiting
            if each.owners and each.kind != END and each.kind != FUTURE
        ]
        self._quiet.keep({chain[0].tid for chain, _ in chains})
        longest: dict[int, list[Waiting]] = {}
        for chain, holder in chains:
            mark = [(each.tid, each.address, runs(each.process, each.tid)) for each in chain]
            process = process_of(holder) or self._pid
            if self._quiet.lasts(chain[0].tid, (mark, runs(process, holder))):
                longest[holder] = max(longest.get(holder, []), chain, key=len)
        for holder, chain in longest.items():
            if holder not in self._reported:
                yield self._finding(chain, holder)
        self._reported = set(longest)

    def _finding(self, chain: list[Waiting], holder: int) -> Finding:
        process = process_of(holder) or self._pid
        does, frames = doing(process, holder)
        steps = [
            Step(
                each.thread,
                chain[position - 1].lock if position else NOTHING,
                [],
                each.lock,
                list(each.python or each.stack),
            )
            for position, each in enumerate(chain)
        ]
        name = thread_name(process, holder)
        steps.append(Step(name, chain[-1].lock, [], NOTHING, list(frames), does=does.text))
        locks = [LockStory(each.lock, each.kind, []) for each in chain]
        return stall_finding(self._seconds, self._pid, locks, steps, does)


def _chain(first: Waiting, waiting: Mapping[int, Waiting]) -> tuple[list[Waiting], int]:
    """A thread that waits, those that hold it up and wait themselves, and who holds those up."""
    chain = [first]
    while len(chain) < len(waiting):
        behind = waiting.get(chain[-1].owners[0])
        if behind is None or not behind.owners or behind in chain:
            break
        chain.append(behind)
    return chain, chain[-1].owners[0]
