"""Core dumps of a deadlocked process: `vespiary locks --core`.

There are two methods, because neither works everywhere. gcore(1), a part of gdb, writes a core dump
of a running process to any place. Without it, the kernel is used: the limit for the size of core
dumps is raised (prlimit(2)), and the process gets a signal whose default is to dump core, and which
the program neither handles nor ignores. The machine decides where this dump is written (core(5)):
`/proc/sys/kernel/core_pattern` contains the name of a file, or a program that gets it through a
pipe. The result is always printed.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vespiary.prove.locks.survivors import lives

__all__ = ["Core", "leave"]

_PATTERN = Path("/proc/sys/kernel/core_pattern")
_USES_PID = Path("/proc/sys/kernel/core_uses_pid")
_SECONDS = 60.0
_DUMPING = (signal.SIGABRT, signal.SIGQUIT, signal.SIGTRAP, signal.SIGSYS, signal.SIGXCPU)
"""Signals that dump core by default, the usual one first."""


@dataclass(frozen=True, slots=True)
class Core:
    """The outcome of the wish for a core.

    Attributes:
        process: Whose.
        path: The file; None where there is none, or another program has it.
        note: How it came there, where it went, or why there is none.
    """

    process: int
    path: Path | None
    note: str

    def __str__(self) -> str:
        if self.path is None:
            return f"no core file of process {self.process}: {self.note}"
        return f"core of process {self.process}: {self.path} ({self.note})"

    def as_json(self) -> dict[str, Any]:
        """The core as an object of a report."""
        path = None if self.path is None else str(self.path)
        return {"process": self.process, "path": path, "note": self.note}


def leave(pid: int, folder: Path) -> Core:
    """Leave a core of a process, which may end by it.

    Args:
        pid: The process.
        folder: Where gcore is to write it, as `core.PID`.
    """
    why_not = "gcore is not installed (Debian's gdb has it)"
    program = shutil.which("gcore")
    if program is not None:
        path = folder / f"core.{pid}"
        why_not = _gcore(program, pid, path)
        if not why_not:
            return Core(pid, path, "by gcore; gdb PROGRAM CORE shows it")
    core = _by_kernel(pid)
    return core if core.path is not None else Core(pid, None, f"{why_not}; {core.note}")


def _gcore(program: str, pid: int, path: Path) -> str:
    """Why gcore wrote no core; empty when it did."""
    try:
        done = subprocess.run(
            [program, "-o", str(path.with_suffix("")), str(pid)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
            # We block the signals that it lives by.
            preexec_fn=_unblock,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"gcore failed: {error}"
    if path.exists():
        return ""
    lines = (done.stderr.strip() or done.stdout.strip() or "it wrote nothing").splitlines()
    return f"gcore failed: {lines[-1]}"


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _by_kernel(pid: int) -> Core:
    number = _signal(pid)
    if number is None:
        return Core(pid, None, "the program handles or blocks every signal that dumps core")
    pattern = _PATTERN.read_text().rstrip("\n")
    is_piped = pattern.startswith("|")
    if not is_piped:
        why_not = _raise_limit(pid)
        if why_not:
            return Core(pid, None, why_not)
    files = None if is_piped else _file_pattern(pid, pattern, number)
    before = _matches(files) if files is not None else {}
    os.kill(pid, number)
    deadline = time.monotonic() + _SECONDS
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    if files is None:
        handler = pattern[1:].split()[0] if pattern[1:].split() else "nobody"
        hint = "; `coredumpctl` lists it" if "systemd-coredump" in handler else ""
        return Core(pid, None, f"the kernel gave it to {handler} ({_PATTERN}){hint}")
    # A file that was there before and has not changed is another process's.
    written = {path: when for path, when in _matches(files).items() if before.get(path) != when}
    if not written:
        return Core(pid, None, f"the kernel wrote none that fits {files}")
    newest = max(written, key=lambda path: written[path])
    return Core(pid, newest, f"by the kernel, at {number.name}; gdb PROGRAM CORE shows it")


def _signal(pid: int) -> signal.Signals | None:
    """A signal that dumps core and takes its default way in a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    taken = 0
    for field in ("SigBlk", "SigIgn", "SigCgt"):
        found = re.search(rf"^{field}:\s*([0-9a-f]+)$", status, re.MULTILINE)
        taken |= int(found[1], 16) if found is not None else 0
    return next((each for each in _DUMPING if not taken >> (each - 1) & 1), None)


def _raise_limit(pid: int) -> str:
    """Raise the limit of a core's size; why that could not be, or empty."""
    try:
        _, most = resource.prlimit(pid, resource.RLIMIT_CORE)
        try:
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(pid, resource.RLIMIT_CORE, unlimited)
        except (PermissionError, ValueError):
            if most == 0:
                return "cores are limited to nothing (ulimit -Hc), which only root can raise"
            resource.prlimit(pid, resource.RLIMIT_CORE, (most, most))
    except OSError as error:
        return f"its limit of cores cannot be raised: {error.strerror}"
    return ""


def _file_pattern(pid: int, pattern: str, number: signal.Signals) -> Path:
    """Where the kernel writes a process's core, with `*` for what only it knows (core(5))."""
    process = Path(f"/proc/{pid}")
    known = {
        "%": "%",
        "p": str(pid),
        "P": str(pid),
        "s": str(int(number)),
        "u": str(process.stat().st_uid),
        "g": str(process.stat().st_gid),
        "h": socket.gethostname(),
        "e": (process / "comm").read_text().strip(),
    }
    name = re.sub(r"%(.)", lambda found: known.get(found[1], "*"), pattern)
    if _USES_PID.read_text().strip() == "1" and "%p" not in pattern:
        name += f".{pid}"
    return (process / "cwd").readlink() / name


def _matches(pattern: Path) -> dict[Path, int]:
    """The files that fit, and when each was written last, in nanoseconds."""
    found = pattern.parent.glob(pattern.name) if "*" in pattern.name else [pattern]
    return {path: path.stat().st_mtime_ns for path in found if path.exists()}
