"""What a thread does now, as far as the kernel says: whether it runs, and what it waits for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vespiary.prove.locks.target import Task

__all__ = ["Activity", "activity", "runs"]

_NEVER = 0xFFFFFFFF
"""A time limit of -1: poll(2) and epoll_wait(2) then wait until something comes."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A system call that may wait: its name, and which argument limits the wait.

    Attributes:
        name: As its manual page has it.
        limit: The number of the argument, counted from 0; None where it has none.
        is_pointer: Whether that points to the time, and is null for no limit.
        kind: `sleep`, `threads` (other threads end it), `children` or `input`.
        has_file: Whether its first argument is a descriptor.
    """

    name: str
    limit: int | None = None
    is_pointer: bool = True
    kind: str = "input"
    has_file: bool = False


_SLEEP = _Call("clock_nanosleep", kind="sleep")
_FUTEX = _Call("futex", 3, kind="threads")
_CALLS: Mapping[str, Mapping[int, _Call]] = {
    "x86_64": {
        0: _Call("read", has_file=True),
        1: _Call("write", has_file=True),
        7: _Call("poll", 2, is_pointer=False),
        23: _Call("select", 4),
        34: _Call("pause"),
        35: _SLEEP,
        42: _Call("connect", has_file=True),
        43: _Call("accept", has_file=True),
        44: _Call("sendto", has_file=True),
        45: _Call("recvfrom", has_file=True),
        46: _Call("sendmsg", has_file=True),
        47: _Call("recvmsg", has_file=True),
        61: _Call("wait4", kind="children"),
        73: _Call("flock", has_file=True),
        202: _FUTEX,
        230: _SLEEP,
        232: _Call("epoll_wait", 3, is_pointer=False, has_file=True),
        247: _Call("waitid", kind="children"),
        270: _Call("pselect6", 4),
        271: _Call("ppoll", 2),
        281: _Call("epoll_pwait", 3, is_pointer=False, has_file=True),
        288: _Call("accept4", has_file=True),
        441: _Call("epoll_pwait2", 3, has_file=True),
    },
    "aarch64": {
        22: _Call("epoll_pwait", 3, is_pointer=False, has_file=True),
        32: _Call("flock", has_file=True),
        63: _Call("read", has_file=True),
        64: _Call("write", has_file=True),
        72: _Call("pselect6", 4),
        73: _Call("ppoll", 2),
        95: _Call("waitid", kind="children"),
        98: _FUTEX,
        101: _SLEEP,
        115: _SLEEP,
        202: _Call("accept", has_file=True),
        203: _Call("connect", has_file=True),
        206: _Call("sendto", has_file=True),
        207: _Call("recvfrom", has_file=True),
        211: _Call("sendmsg", has_file=True),
        212: _Call("recvmsg", has_file=True),
        242: _Call("accept4", has_file=True),
        260: _Call("wait4", kind="children"),
        441: _Call("epoll_pwait2", 3, has_file=True),
    },
}
_HERE = _CALLS.get(os.uname().machine, {})


@dataclass(frozen=True, slots=True)
class Activity:
    """What a thread does.

    Attributes:
        text: The same in words, after "and".
        kind: `runs`, `sleep`, `threads`, `children`, `input`, or `call` for another system call.
        is_limited: Whether the wait ends by itself.
    """

    text: str
    kind: str
    is_limited: bool

    @property
    def is_endless(self) -> bool:
        """Whether only another thread can end it."""
        return self.kind == "threads" and not self.is_limited


def activity(pid: int, task: Task) -> Activity:
    """What a thread does, by the system call that it is in.

    Args:
        pid: Its process.
        task: It, as it was read.
    """
    if not task.call:
        return Activity("runs", "runs", True)
    call = _HERE.get(task.call[0])
    if call is None:
        return Activity(f"is in system call {task.call[0]}", "call", True)
    arguments = task.call[1:-2]
    limit = None if call.limit is None else arguments[call.limit]
    is_limited = call.kind == "sleep" or not (
        limit is None or (limit == 0 if call.is_pointer else limit & _NEVER == _NEVER)
    )
    where = call.name
    if call.has_file:
        where += f" of {_file(pid, arguments[0])}"
    words = {
        "sleep": "sleeps",
        "threads": "waits for another thread",
        "children": "waits for a child process",
        "input": "waits for input or output",
    }[call.kind]
    if is_limited and call.kind != "sleep":
        words += " for a limited time"
    return Activity(f"{words} ({where})", call.kind, is_limited)


def _file(pid: int, descriptor: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/fd/{descriptor}").readlink())
    except OSError:
        return f"descriptor {descriptor}"


def runs(pid: int, tid: int) -> str:
    """How much a thread has run so far: while it stays the same, the thread did not.

    The kernel counts the time on a processor and the turns there (schedstat in proc(5)), or else
    how often it has yielded it. Empty for a thread that is not there.
    """
    folder = Path(f"/proc/{pid}/task/{tid}")
    try:
        time, _, turns = (folder / "schedstat").read_text().split()
        if turns != "0":
            return f"{time} {turns}"
    except (OSError, ValueError):
        pass
    try:
        lines = (folder / "status").read_text().splitlines()
    except OSError:
        return ""
    return " ".join(line for line in lines if "ctxt_switches" in line)
