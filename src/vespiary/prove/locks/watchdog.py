"""Looks at a running process again and again, until it deadlocks or ends."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator

from vespiary.errors import ConfigurationError
from vespiary.prove.locks.attach import Snapshot, Waiting, snapshot
from vespiary.prove.locks.findings import Finding, LockStory, Step

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
        stall_seconds: How long a thread may wait for a lock before that is reported.
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
    """Waits that last, each reported once."""

    def __init__(self, pid: int, seconds: float) -> None:
        self._pid = pid
        self._seconds = seconds
        self._since: dict[tuple[int, int, int], float] = {}
        self._told: set[tuple[int, int, int]] = set()

    def new(self, seen: Snapshot) -> Iterator[Finding]:
        """Those that have become too long by now."""
        now = time.monotonic()
        # A thread in the same wait has not run since.
        waits = {
            (each.tid, each.address, each.switches): each
            for each in seen.waiting
            if each.owners and each.kind != "end of a thread"
        }
        self._since = {wait: self._since.get(wait, now) for wait in waits}
        self._told &= set(waits)
        for wait, each in waits.items():
            if now - self._since[wait] >= self._seconds and wait not in self._told:
                self._told.add(wait)
                yield self._finding(each)

    def _finding(self, each: Waiting) -> Finding:
        owners = ", ".join(map(str, each.owners))
        return Finding(
            "stall",
            f"a thread has waited for a lock for {self._seconds:g} s or longer",
            f"hold it for less time, or find out what its holder (thread {owners}) waits for",
            self._pid,
            [LockStory(each.lock, each.kind, [])],
            [
                Step(
                    each.thread,
                    "nothing that is known",
                    [],
                    each.lock,
                    list(each.python or each.stack),
                )
            ],
        )
