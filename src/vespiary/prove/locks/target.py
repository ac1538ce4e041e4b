"""A running process that is examined from outside, and why one cannot be examined."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vespiary.errors import ConfigurationError
from vespiary.prove.locks.binaries import inspect

__all__ = ["Target", "Task", "opened", "process_of", "tasks", "thread_name"]

_WAITING_CALLS = {"x86_64": {"202", "219"}, "aarch64": {"98", "128"}}.get(os.uname().machine)
"""Calls of a thread that waits for a lock: futex(2), and restart_syscall(2) after a stop."""

_PTRACE_SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")


@dataclass(frozen=True, slots=True)
class Target:
    """A process.

    Attributes:
        pid: Its number.
        program: The file that it executes.
        memory: A descriptor of its memory (`mem` in proc(5)).
        files: The files that it has mapped.
    """

    pid: int
    program: str
    memory: int
    files: frozenset[str]

    @property
    def is_python(self) -> bool:
        """Whether there is an interpreter in it."""
        names = {Path(file).name for file in (self.program, *self.files)}
        return any(name.startswith(("python", "libpython")) for name in names)

    @property
    def is_musl(self) -> bool:
        """Whether its C library is musl, as far as its files tell."""
        return any(Path(file).name.startswith("ld-musl") for file in self.files) or (
            "musl" in inspect(self.program).interpreter
        )

    def read(self, address: int, length: int) -> bytes | None:
        """Its memory; None where there is none, or the process has ended."""
        try:
            data = os.pread(self.memory, length, address)
        except (OSError, OverflowError):
            return None
        return data if len(data) == length else None


@contextmanager
def opened(pid: int) -> Iterator[Target]:
    """Look at a process.

    Raises:
        ConfigurationError: it cannot be looked at; the text says why, and what to do.
    """
    memory = -1
    try:
        _check_kind(pid)
        program = str(Path(f"/proc/{pid}/exe").readlink())
        maps = Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        _check_bits(pid)
        files = {line.split(None, 5)[5] for line in maps if line.count(" /") == 1}
        yield Target(pid, program, memory, frozenset(files))
    except (FileNotFoundError, ProcessLookupError) as error:
        raise _refusal(pid, f"there is no process {pid} (any more)") from error
    except PermissionError as error:
        raise _refusal(pid, _forbidden(pid)) from error
    finally:
        if memory >= 0:
            os.close(memory)


def _refusal(pid: int, text: str) -> ConfigurationError:
    return ConfigurationError(text, subject="pid", value=pid)


def _check_kind(pid: int) -> None:
    status = Path(f"/proc/{pid}/stat").read_text()
    state, parent = status.rpartition(")")[2].split()[:2]
    if state in "ZX":
        raise _refusal(
            pid,
            f"process {pid} has ended: it is a zombie, for which its parent, process {parent},"
            f" has not"
            " waited yet",
        )
    group = next((line for line in _status(pid, pid).splitlines() if line.startswith("Tgid:")), "")
    if group and int(group.split()[1]) != pid:
        raise _refusal(pid, f"{pid} is a thread: pass its process, {group.split()[1]}")
    kernel_thread = 0x00200000  # PF_KTHREAD
    if int(status.rpartition(")")[2].split()[6]) & kernel_thread:
        raise _refusal(
            pid, f"process {pid} is a kernel thread, which has no locks that can be examined"
        )


def _check_bits(pid: int) -> None:
    # Through the process's own link: the file may have been replaced, or be in a container.
    with Path(f"/proc/{pid}/exe").open("rb") as file:
        head = file.read(5)
    if head == b"\x7fELF\x01":
        raise _refusal(
            pid, f"process {pid} is a 32-bit program; only 64-bit programs can be examined"
        )


def _forbidden(pid: int) -> str:
    """Why a process may not be looked at, and what to do."""
    try:
        owner = Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return f"you have no permission to examine process {pid}"
    if owner != os.geteuid():
        return (
            f"process {pid} belongs to user {owner}, and this is user {os.geteuid()}:"
            " run `vespiary locks attach` as that user or as root (sudo)"
        )
    try:
        scope = _PTRACE_SCOPE.read_text().strip()
    except OSError:
        scope = "0"
    if scope != "0":
        return (
            f"process {pid} may not be looked at, because {_PTRACE_SCOPE} is {scope}:"
            " become root (sudo), or allow it with `sysctl kernel.yama.ptrace_scope=0`"
        )
    return (
        f"process {pid} may not be looked at: it has changed its user or forbids it"
        " (PR_SET_DUMPABLE), or this container lacks the capability SYS_PTRACE; become root,"
        " or start the container with --cap-add SYS_PTRACE"
    )


@dataclass(frozen=True, slots=True)
class Task:
    """A thread at one moment.

    Attributes:
        tid: Its number here.
        inner: Its number in its own namespace (pid_namespaces(7)), as its memory has it.
        name: Its name.
        switches: How often it has yielded the processor by itself: a thread that is blocked all
            the time between two looks has the same number in both.
        call: The system call that it is in, its arguments, stack pointer and program counter; empty
            if it is in none.
    """

    tid: int
    inner: int
    name: str
    switches: int
    call: tuple[int, ...]


def tasks(pid: int) -> list[Task]:
    """A process's threads."""
    found = []
    for path in Path(f"/proc/{pid}/task").iterdir():
        try:
            found.append(task(pid, int(path.name)))
        except (FileNotFoundError, ProcessLookupError):
            continue  # It has ended meanwhile.
    return found


def task(pid: int, tid: int) -> Task:
    """One of them."""
    # The number of switches first: what is read behind it belongs to it or is later.
    fields = dict(line.split(":", 1) for line in _status(pid, tid).splitlines() if ":" in line)
    words = Path(f"/proc/{pid}/task/{tid}/syscall").read_text().split()
    call: tuple[int, ...] = ()
    if len(words) == 9:
        call = (int(words[0]), *(int(word, 16) for word in words[1:]))
    inner = int(fields.get("NSpid", str(tid)).split()[-1])
    switches = int(fields.get("voluntary_ctxt_switches", "0"))
    return Task(tid, inner, fields.get("Name", "").strip(), switches, call)


def is_blocked_at(pid: int, tid: int, address: int) -> bool:
    """Whether a thread is in a system call about the word at an address."""
    try:
        return address in task(pid, tid).call[1:2]
    except OSError:
        return False


def may_wait(pid: int, tid: int) -> bool:
    """Whether a thread may be waiting for a lock: not while it runs or is in another call.

    A handler of a signal can leave the wait with siglongjmp(3), which no function sees.
    """
    try:
        words = Path(f"/proc/{pid}/task/{tid}/syscall").read_text().split()
    except OSError:
        return True  # It may not be looked at.
    return _WAITING_CALLS is None or not words or words[0] in _WAITING_CALLS


def process_of(tid: int) -> int | None:
    """The process that a thread belongs to; None if there is no such thread."""
    try:
        for line in _status(tid, tid).splitlines():
            if line.startswith("Tgid:"):
                return int(line.split()[1])
    except OSError:
        pass
    return None


def thread_name(pid: int, tid: int) -> str:
    """A thread in words, with its name where it is there."""
    try:
        name = Path(f"/proc/{pid}/task/{tid}/comm").read_text().strip()
    except OSError:
        return f"thread {tid}"
    return f"thread {name} ({tid})"


def _status(pid: int, tid: int) -> str:
    return Path(f"/proc/{pid}/task/{tid}/status").read_text(errors="replace")
