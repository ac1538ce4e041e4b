"""What confines the process of a plug-in: its memory, what it writes, and what it leaves behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections import deque
from pathlib import Path

from vespiary.errors import ConfigurationError
from vespiary.prove.memory.limiters import choose
from vespiary.prove.memory.processes import Tree, exact_all
from vespiary.prove.memory.reading import Limiter

__all__ = ["Output", "adopt_orphans", "end_descendants", "limited", "used_bytes"]

_METHODS = ("cgroup-v2", "cgroup-v1", "sampling")
"""How a limit is enforced: the first that is possible here. The last one always is."""
_SET_CHILD_SUBREAPER = 36
_LINES_MAX = 20
_LINE_BYTES_MAX = 2000
_BYTES_A_TURN = 1 << 16
_TURNS_MAX = 64
_END_SECONDS = 5.0
_LOOK_SECONDS = 0.005


def limited(limit: int) -> Limiter:
    """Make a memory limit for one process with all that it starts.

    The process enters it with `enter`.

    Args:
        limit: Bytes.
    """
    for method in _METHODS:
        with contextlib.suppress(ConfigurationError):
            return choose(limit, method).limiter
    raise AssertionError("sampling is always possible")


def adopt_orphans() -> None:
    """Be the parent of all descendants whose parent ends (PR_SET_CHILD_SUBREAPER, prctl(2))."""
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def used_bytes(process: int) -> int:
    """The memory of a process by its shares, without what the kernel can take back."""
    found = exact_all([process])
    return sum(memory.used for memory in found.values())


def end_descendants() -> int:
    """Kill everything that this process has below it, and return how many processes there were.

    This process adopts orphans, so all of them can be found by their parents. Every look begins
    from the start: the number of a process that has ended may already belong to another program.
    """
    deadline, killed = time.monotonic() + _END_SECONDS, set()
    while time.monotonic() < deadline:
        found = Tree(os.getpid()).look()
        if not found:
            break
        for process in found:
            if _end(process):
                killed.add(process)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process, os.WNOHANG)
        time.sleep(_LOOK_SECONDS)
    return len(killed)


def _end(process: int) -> bool:
    """Kill a descendant; False if it has ended before."""
    try:
        descriptor = os.pidfd_open(process)
    except OSError:
        return False
    try:
        # The descriptor is of the process that has this number now, and stays so.
        if process not in Tree(os.getpid()).look() or not _is_running(process):
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _is_running(process: int) -> bool:
    """Whether it has not ended yet, and only waits for its parent."""
    state = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2]
    return state.split()[0] != "Z"


class Output:
    """What a process writes to its standard output and error: passed on, with its last lines.

    The process gets one pipe for both, so it cannot write into anything that belongs to the server.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        self._lines: deque[bytes] = deque(maxlen=_LINES_MAX)
        self._rest = b""
        self._is_empty = self._is_closed = False

    def fileno(self) -> int:
        """The descriptor, which is readable when it has written something."""
        return self._read

    def redirect(self) -> None:
        """Let this process write here from now on."""
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(self._write, 1)
        os.dup2(self._write, 2)
        for number in {nothing, self._read, self._write} - {0, 1, 2}:
            os.close(number)

    def leave(self) -> None:
        """Leave the writing end to the process."""
        os.close(self._write)

    def pass_on(self) -> bool:
        """Write what has come to this process's standard error; False at the end."""
        if self._is_closed:
            # It was closed since the selector reported it.
            return True
        try:
            data = os.read(self._read, _BYTES_A_TURN)
        except BlockingIOError:
            self._is_empty = True
            return True
        self._is_empty = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data or len(self._rest) > _LINE_BYTES_MAX:
            lines, self._rest = [*lines, self._rest], b""
        for line in filter(None, lines):
            self._lines.append(line[:_LINE_BYTES_MAX])
            sys.stderr.buffer.write(line + b"\n")
        sys.stderr.flush()
        return bool(data)

    def last_lines(self) -> list[str]:
        """The last lines of a process that has ended; another one may still have the pipe."""
        for _ in range(_TURNS_MAX):
            if not self.pass_on() or self._is_empty:
                break
        return [line.decode(errors="replace") for line in self._lines]

    def close(self) -> None:
        """Close the reading end."""
        self._is_closed = True
        os.close(self._read)
