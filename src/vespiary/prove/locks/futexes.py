"""What the threads of a process wait for, read from the futex that each of them waits on.

The kernel reports the system call that a thread is in, with its arguments (`syscall` in proc(5)). A
thread that waits for a lock is in futex(2), with the address of a word of the lock. The data around
this word depends on the C library:

* glibc's mutex (`struct __pthread_mutex_s`: lock, count, owner, users, kind) contains the number of
  its owner; a robust mutex, and one with priority inheritance, has it in the lock's word itself;
* glibc's read-write lock (`struct __pthread_rwlock_arch_t`) contains its writer, but only the
  number of its readers;
* musl has the owner in the lock's word, except for its normal mutex;
* `pthread_join` waits on the word that is cleared when the thread ends, which contains the thread's
  number.

No owner is recorded in semaphores and conditions, in the locks of Rust and Go, and in those of
Python, which are built from semaphores.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vespiary.prove.locks.target import Target, Task, process_of

__all__ = ["Wait", "wait_of"]

_CALL = {"x86_64": 202, "aarch64": 98}.get(os.uname().machine, -1)
_WAIT, _LOCK_PI, _WAIT_BITSET, _LOCK_PI2 = 0, 6, 9, 13
_COMMAND = 0x7F
_OWNER = 0x3FFFFFFF
_WAITERS = 0x80000000
_ROBUST, _INHERIT, _SHARED = 0x10, 0x20, 0x80
_KINDS = ("mutex", "recursive mutex", "error-checking mutex", "mutex")
_KIND_MAX = 0x3FF


@dataclass(frozen=True, slots=True)
class Wait:
    """What a thread waits for.

    Attributes:
        task: The thread.
        address: The lock's address, or the futex's where the lock is not known.
        kind: What it is.
        owners: The numbers of the threads that hold it; empty where that is not recorded.
        gone: The owner that the lock names, if there is no such thread any more.
        is_limited: Whether the wait ends by itself.
        remark: What else is known of it.
    """

    task: Task
    address: int
    kind: str
    owners: tuple[int, ...] = ()
    gone: int | None = None
    is_limited: bool = False
    remark: str = ""


def wait_of(target: Target, task: Task, members: Mapping[int, int]) -> Wait | None:
    """What a thread waits for; None if it is in no futex.

    Args:
        target: The process.
        task: The thread.
        members: The process's threads: their numbers as its memory has them, and here.
    """
    if not task.call or task.call[0] != _CALL:
        return None
    address, operation, value, timeout = task.call[1:5]
    operation &= _COMMAND
    if operation not in (_WAIT, _WAIT_BITSET, _LOCK_PI, _LOCK_PI2):
        return None
    # A lock may be at the edge of what is mapped.
    before = target.read(address - 12, 12) or bytes(12)
    behind = target.read(address, 32) or (target.read(address, 4) or bytes(4)) + bytes(28)
    words = struct.unpack("<11I", before + behind)
    found = (
        _word_is_owner(task, address, operation, value & 0xFFFFFFFF, words, members)
        or _mutex(task, address, words, members)
        or _read_write_lock(task, address, words, members)
        or Wait(task, address, "futex")
    )
    if not timeout:
        return found
    return Wait(found.task, found.address, found.kind, found.owners, found.gone, True, found.remark)


def _word_is_owner(
    task: Task,
    address: int,
    operation: int,
    value: int,
    words: tuple[int, ...],
    members: Mapping[int, int],
) -> Wait | None:
    """A lock or an end of a thread whose word is a thread's number."""
    word, kind = words[3], words[7]
    owner = members.get(word & _OWNER)
    if operation in (_LOCK_PI, _LOCK_PI2):
        name = "priority-inheriting mutex"
        if owner is None:
            return _elsewhere(task, address, name, word & _OWNER)
        return Wait(task, address, name, (owner,))
    if owner is None or word & _OWNER != value & _OWNER:
        return None
    if value & _WAITERS:
        if kind & _ROBUST and kind <= _KIND_MAX:
            return Wait(task, address, "robust mutex", (owner,))
        return Wait(task, address - 4, "mutex", (owner,))
    return Wait(task, address, "end of a thread", (owner,))


def _mutex(
    task: Task, address: int, words: tuple[int, ...], members: Mapping[int, int]
) -> Wait | None:
    lock, owner, users, kind = words[3], words[5], words[6], words[7]
    if lock != 2 or not 1 <= users <= 1 << 20 or kind > _KIND_MAX or not owner:
        return None
    name = _KINDS[kind & 3]
    if owner in members:
        return Wait(task, address, name, (members[owner],))
    if kind & _SHARED:
        return _elsewhere(task, address, name, owner)
    # What names a thread that is not there is a mutex only if its stack says so, too.
    return Wait(task, address, name, gone=owner) if owner <= _threads_max() else None


@cache
def _threads_max() -> int:
    """The largest number that a thread can have (proc(5))."""
    try:
        return int(Path("/proc/sys/kernel/pid_max").read_text())
    except (OSError, ValueError):
        return 1 << 22


def _elsewhere(task: Task, address: int, name: str, owner: int) -> Wait:
    """A lock that processes share, held by a thread of another one."""
    name = f"{name} between processes"
    process = process_of(owner)
    if process is None:
        return Wait(task, address, name, gone=owner)
    return Wait(task, address, name, (owner,), remark=f"of process {process}")


def _read_write_lock(
    task: Task, address: int, words: tuple[int, ...], members: Mapping[int, int]
) -> Wait | None:
    # It began two or three words before; its writer is the seventh, its readers are in the first.
    for before, writer in ((2, words[7]), (3, words[6])):
        if writer in members:
            owners = (members[writer],)
            return Wait(task, address - 4 * before, "read-write lock", owners)
    return None
