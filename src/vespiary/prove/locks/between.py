"""What the record of one process says about others: shared locks, its start, its children."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Child", "Fork", "Shared"]


@dataclass(frozen=True, slots=True)
class Shared:
    """What makes a lock the same one in several processes.

    Attributes:
        key: The device, the inode and the offset of the memory that it lies in.
        lock: Its number in this process.
        entered: When the process first met it, in nanoseconds of CLOCK_MONOTONIC.
        made: Whether the process made it then, and knows what for.
        robust: Whether the next one that takes it is informed that its owner has ended.
    """

    key: tuple[int, int, int]
    lock: int
    entered: int
    made: bool
    robust: bool


@dataclass(frozen=True, slots=True)
class Child:
    """A process that this one has made.

    Attributes:
        pid: Its number.
        maker: The thread that made it.
        born: And when, as a moment of this process.
        waiter: The thread that waited for its end, None if none did yet.
        waited: And when.
        made: When it was there, in nanoseconds of CLOCK_MONOTONIC.
        ended: When its end had been waited for, 0 if that was not yet.
    """

    pid: int
    maker: int
    born: int
    waiter: int | None
    waited: int
    made: int
    ended: int


@dataclass(frozen=True, slots=True)
class Fork:
    """How a process began that is a fork of one that was watched already.

    Attributes:
        parent_started: When the parent's record began, which tells it from others of its number.
        thread: The parent's thread that forked.
        moment: And when, as a moment of the parent.
        stack: Where, in the parent's record; None where that was not kept.
    """

    parent_started: int
    thread: int
    moment: int
    stack: int | None
