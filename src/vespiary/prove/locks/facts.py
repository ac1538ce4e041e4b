"""What a record contains: threads, locks, orders, events, loaded objects."""

from __future__ import annotations

from dataclasses import dataclass

from vespiary.prove.locks.between import Shared
from vespiary.prove.locks.kinds import MAY_BE_SIGNALS

__all__ = ["RECORD_BITS", "Edge", "Event", "Held", "Lock", "Module", "Thread"]

RECORD_BITS = 32
"""Of the records of several processes: the bits of a number that are the record's own."""


@dataclass(frozen=True, slots=True)
class Held:
    """A lock that a thread holds: its number, how, and the address of the call that took it.

    `task` is the number of the task that took it as its thread, `entry` that of the log.
    """

    lock: int
    shared: bool
    site: int
    task: int | None = None
    entry: int | None = None


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread or an asyncio task. The kernel's number of a task is that of its thread.

    Attributes:
        number: Its place in the record; the first operation's thread is 0.
        tid: The kernel's number (gettid(2)).
        alive: Whether it has not ended.
        parent: The number of the thread that made it; None when that was not seen.
        born: The moment of its creation; moments of a process are in one order.
        joiner: Who has joined it, None if nobody.
        joined: And when.
        waiting: The lock it waits for, None if for none.
        waiting_shared: Whether it would share it.
        waiting_signal: Whether the lock was a signal, which anybody may give, when the wait began.
        waiting_stack: The stack that it left, None when the wait is short yet.
        waiting_since: Since when, in nanoseconds of CLOCK_MONOTONIC.
        operations: Locks it has taken.
        contended: How often it had to wait.
        name: As Python has it, or else the kernel.
        held: What it holds.
        carrier: The number of the thread that a task runs on; None for what is a thread itself.
        coroutine: The name of a task's coroutine.
        limited: Whether a time limit ends the wait of a task.
        retaking: The mutex that it takes again when its wait on a condition is over.
        left_behind: Whether it is a thread of the parent that held locks when this process was
            forked, and is not in it; `parent` is then its number there.
    """

    number: int
    tid: int
    alive: bool
    parent: int | None
    born: int
    joiner: int | None
    joined: int
    waiting: int | None
    waiting_shared: bool
    waiting_stack: int | None
    waiting_since: int
    operations: int
    contended: int
    name: str
    held: tuple[Held, ...]
    carrier: int | None = None
    coroutine: str = ""
    waiting_signal: bool = False
    left_behind: bool = False
    limited: bool = False
    retaking: int | None = None

    @property
    def noun(self) -> str:
        """What it is."""
        return "thread" if self.carrier is None else "task"


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock, from its first operation to its end. A signal is released by anyone who likes to.

    `stack` is where it was `made`, or else where it was first seen. It is `owned` when a `with`
    statement has taken it: then the same thread also releases it. A `life` is owned by its thread,
    while the thread runs. It was `released` if the thread that had taken it has released it before.
    """

    number: int
    address: int
    kind: str
    alive: bool
    owner: int | None
    stack: int | None
    first_site: int
    signal: bool
    made: bool = False
    owned: bool = False
    shared: Shared | None = None
    life: bool = False
    released: bool = False

    @property
    def may_be_signal(self) -> bool:
        """Whether another thread may be meant to release it, though none has so far."""
        return self.kind in MAY_BE_SIGNALS and not self.owned


@dataclass(frozen=True, slots=True)
class Edge:
    """An order: `thread` took `to` while it held `first`, and the `gates` besides.

    `stack` is where it took `to`; `first_stack`, in the full mode, where it had taken `first`.
    `time` is when it was first seen, in nanoseconds of CLOCK_MONOTONIC. It is `private` if one of
    the locks was known to its maker alone, this thread. `index` is the thread's in clocks, None if
    it has none, and `clock` what it knew of the epochs of others, a number of four bytes each.
    """

    thread: int
    segment: int
    first: int
    to: int
    first_shared: bool
    to_shared: bool
    stack: int | None
    first_site: int
    to_site: int
    gates: frozenset[int]
    first_stack: int | None = None
    time: int = 0
    private: bool = False
    index: int | None = None
    clock: bytes = b""

    def knows(self, other: Edge) -> bool:
        """Whether the other order was over, and handed over, before this one began."""
        # Each process counts by itself.
        if other.index is None or (self.thread ^ other.thread) >> RECORD_BITS:
            return False
        span = slice(4 * other.index, 4 * other.index + 4)
        return _number(self.clock[span]) >= _number(other.clock[span])


@dataclass(frozen=True, slots=True)
class Event:
    """Something that is reported for what it is."""

    what: str
    thread: int
    lock: int
    other: int | None
    stack: int | None
    site: int


@dataclass(frozen=True, slots=True)
class Module:
    """A loaded object: what is added to the file's addresses, and where it lies."""

    bias: int
    start: int
    end: int
    path: str


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")
