"""Who waits for whom in a running process that was not prepared in any way.

The kernel tells of each thread the system call that it is in and its arguments (`syscall` in
proc(5)): a thread that waits for a mutex is in futex(2) at the mutex's address. The C library keeps
the owner's number beside it (glibc `struct __pthread_mutex_s`: lock, count, owner; `struct
__pthread_rwlock_arch_t`: the current writer). That is read from the process's memory, without
stopping it; a static program is no different.

Not seen: locks that keep no owner (semaphores, and so Python's own locks; Rust's and Go's), and
mutexes of other C libraries than glibc.
"""

from __future__ import annotations

import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from vespiary.errors import ConfigurationError
from vespiary.prove.locks.places import Frame, resolve
from vespiary.prove.locks.record import Module

__all__ = ["Snapshot", "Waiting", "snapshot"]

_FUTEX = {"x86_64": 202, "aarch64": 98}
_WAIT, _LOCK_PI, _WAIT_BITSET, _LOCK_PI2 = 0, 6, 9, 13
_OWNER_MASK = 0x3FFFFFFF
_SCAN_BYTES = 2048
_FRAMES_MAX = 12


@dataclass(frozen=True, slots=True)
class Waiting:
    """A thread that waits for a lock, and who holds it.

    Attributes:
        tid: The thread (gettid(2)).
        name: Its name.
        address: The lock's address.
        kind: `mutex` or `read-write lock`.
        owner: The thread that holds it.
        stack: Where it waits: the return addresses that its stack holds, so that one may be too
            many, as frames.
    """

    tid: int
    name: str
    address: int
    kind: str
    owner: int
    stack: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A process at one moment.

    Attributes:
        pid: The process.
        threads: How many it has.
        waiting: Those that wait for a lock whose owner is known.
        unknown: How many wait at a futex of whose owner nothing can be said.
        circle: Those that wait for each other, in the order of waiting; empty if none do.
        seconds: How long looking took.
    """

    pid: int
    threads: int
    waiting: tuple[Waiting, ...]
    unknown: int
    circle: tuple[Waiting, ...]
    seconds: float


def snapshot(pid: int) -> Snapshot:
    """Look at a process.

    Errors:
        ConfigurationError: there is no such process, or it may not be looked at.
    """
    began = time.perf_counter()
    try:
        tids = [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            found = _look(pid, tids, memory.fileno())
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ConfigurationError(f"there is no process {pid}", subject="pid", value=pid) from error
    except PermissionError as error:
        raise ConfigurationError(
            f"process {pid} may not be looked at: be its user or root, and see"
            " /proc/sys/kernel/yama/ptrace_scope",
            subject="pid",
            value=pid,
        ) from error
    waits, unknown = found
    circle = _circle(waits)
    seconds = time.perf_counter() - began
    modules = _modules(pid)
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        told = {
            wait.tid: Waiting(
                wait.tid,
                _name(pid, wait.tid),
                wait.address,
                wait.kind,
                wait.owner,
                _stack(memory.fileno(), modules, wait),
            )
            for wait in waits
        }
    return Snapshot(
        pid,
        len(tids),
        tuple(told.values()),
        unknown,
        tuple(told[wait.tid] for wait in circle),
        seconds,
    )


@dataclass(frozen=True, slots=True)
class _Wait:
    tid: int
    address: int
    kind: str
    owner: int
    stack_pointer: int
    counter: int


def _look(pid: int, tids: list[int], memory: int) -> tuple[list[_Wait], int]:
    members = set(tids)
    number = _FUTEX.get(os.uname().machine, -1)
    waits = []
    unknown = 0
    for tid in tids:
        try:
            fields = Path(f"/proc/{pid}/task/{tid}/syscall").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # It has ended meanwhile.
        if len(fields) < 9 or int(fields[0]) != number:
            continue
        address, operation = int(fields[1], 16), int(fields[2], 16) & 0x7F
        stack_pointer, counter = int(fields[7], 16), int(fields[8], 16)
        owned = _owner(memory, address, operation, members)
        if owned is None:
            unknown += 1
            continue
        lock, kind, owner = owned
        waits.append(_Wait(tid, lock, kind, owner, stack_pointer, counter))
    return waits, unknown


def _owner(
    memory: int, address: int, operation: int, members: set[int]
) -> tuple[int, str, int] | None:
    """The lock around a futex word, its kind and its owner."""
    try:
        if operation in (_LOCK_PI, _LOCK_PI2):
            (word,) = struct.unpack("<I", os.pread(memory, 4, address))
            owner = word & _OWNER_MASK
            return (address, "mutex", owner) if owner in members else None
        if operation not in (_WAIT, _WAIT_BITSET):
            return None
        data = os.pread(memory, 40, address - 12)
    except OSError:
        return None
    words = struct.unpack("<10i", data)
    # The mutex begins at the word; its owner is the third.
    lock, owner, users = words[3], words[5], words[6]
    if owner in members and lock == 2 and users >= 1:
        return address, "mutex", owner
    # The read-write lock began two or three words before; its writer is the seventh.
    for before, writer in ((2, words[7]), (3, words[6])):
        if writer in members:
            return address - 4 * before, "read-write lock", writer
    return None


def _circle(waits: list[_Wait]) -> list[_Wait]:
    by_thread = {wait.tid: wait for wait in waits}
    for start in waits:
        path = [start]
        while (following := by_thread.get(path[-1].owner)) is not None:
            if following in path:
                return path[path.index(following) :]
            path.append(following)
    return []


def _name(pid: int, tid: int) -> str:
    try:
        return Path(f"/proc/{pid}/task/{tid}/comm").read_text().strip()
    except OSError:
        return ""


def _modules(pid: int) -> list[Module]:
    """The executable parts of the process's files."""
    first: dict[str, int] = {}
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
        span, access, offset, _, _, *path = line.split(None, 5)
        if not path or not path[0].startswith("/"):
            continue
        start, _, end = span.partition("-")
        first.setdefault(path[0], int(start, 16) - int(offset, 16))
        if "x" in access:
            bias = first[path[0]] if _is_relocated(path[0]) else 0
            found.append(Module(bias, int(start, 16), int(end, 16), path[0]))
    return found


def _is_relocated(path: str) -> bool:
    """Whether an ELF file is loaded anywhere (ET_DYN), not where it says (ET_EXEC)."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(18)
    except OSError:
        return True
    return head[16:18] != b"\x02\x00"


def _stack(memory: int, modules: list[Module], wait: _Wait) -> tuple[Frame, ...]:
    """The frames whose return addresses the top of the stack holds."""
    frames = [*_frames(modules, wait.counter)]
    try:
        data = os.pread(memory, _SCAN_BYTES, wait.stack_pointer)
    except OSError:
        return tuple(frames)
    for (word,) in struct.iter_unpack("<Q", data[: len(data) // 8 * 8]):
        if len(frames) >= _FRAMES_MAX:
            break
        is_code = any(module.start <= word < module.end for module in modules)
        if is_code and _follows_a_call(memory, word):
            frames += _frames(modules, word)
    return tuple(frames)


def _follows_a_call(memory: int, address: int) -> bool:
    if os.uname().machine != "x86_64":
        return True
    try:
        code = os.pread(memory, 7, address - 7)
    except OSError:
        return False
    # call rel32, or call through a register or memory (opcode FF /2).
    return code[2] == 0xE8 or any(
        code[at] == 0xFF and (code[at + 1] >> 3 & 7) == 2 for at in range(6)
    )


def _frames(modules: list[Module], address: int) -> list[Frame]:
    for module in modules:
        if module.start <= address < module.end:
            return resolve(module, address)
    return []
