"""The processes of a supervisor: how one is started, asked, watched and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vespiary._counted import counted
from vespiary.loop._loop import open_loops
from vespiary.workers._board import Word
from vespiary.workers._stacks import Stacks

if TYPE_CHECKING:
    from vespiary.workers._board import Slot
    from vespiary.workers._options import Workers

__all__ = [
    "Place",
    "Process",
    "capital",
    "check_fork",
    "fork",
    "keep_exit_statuses",
    "new_process",
    "open_pidfd",
    "reap",
    "rest_of",
    "send_signal",
    "told_status",
    "why_to_kill",
]

_LOST_SECONDS = 2.0  # A process that has closed its control socket is usually ending.
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def check_fork() -> None:
    """Check that this process can be forked: it has no other thread, and no loop that is open.

    A child has only the thread that forks. Locks that other threads hold stay locked in the child
    forever, and what a loop has open belongs to the parent.

    Raises:
        RuntimeError: it cannot.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "workers can be started from the main thread only: call run(workers=...) there"
        )
    others = [one.name for one in threading.enumerate() if one is not threading.main_thread()]
    if others:
        raise RuntimeError(
            f"workers cannot be forked while other threads run ({', '.join(sorted(others))}): start"
            " threads in on_start, which each worker calls"
        )
    if open_loops():
        raise RuntimeError(
            "workers cannot be forked while a Vespiary loop is open: close it before, or use it"
            " in on_start, which each worker calls"
        )


@dataclass(slots=True, eq=False)
class Process:
    """A worker process, as its supervisor sees it.

    Attributes:
        number: The number of the worker.
        title: What logs call it.
        slot: Its slot in the shared memory.
        control: This end of the control socket.
        stacks: Where it writes its stacks.
        pid: Its process id.
        pidfd: A descriptor that is readable when it has ended (pidfd_open(2)).
        started: When, by the monotonic clock.
        is_serving: Whether it has started successfully.
        has_missed_hangup: Whether SIGHUP came before it served.
        is_leaving: Whether it was asked to stop, or killed, by the supervisor.
        leaves_since: When it began to stop, as far as the supervisor knows.
        kill_at: When it is killed if it has not ended.
        is_killed: Whether the supervisor has killed it.
        lost_at: When it closed its control socket.
    """

    number: int
    title: str
    slot: Slot
    control: socket.socket
    stacks: Stacks
    pid: int = 0
    pidfd: int = -1
    started: float = field(default_factory=time.monotonic)
    is_serving: bool = False
    has_missed_hangup: bool = False
    is_leaving: bool = False
    leaves_since: float | None = None
    kill_at: float | None = None
    is_killed: bool = False
    lost_at: float | None = None

    def __str__(self) -> str:
        return f"{self.title} (process {self.pid})"

    @property
    def sentence(self) -> str:
        """The same at the beginning of a sentence."""
        return capital(str(self))

    def ask(self, message: bytes) -> None:
        """Send it a request; one that has ended gets none."""
        with contextlib.suppress(OSError):
            self.control.send(message)

    def kill(self) -> None:
        """Kill it."""
        self.is_leaving = self.is_killed = True
        self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Send it a signal; one that has ended gets none."""
        send_signal(self.pidfd, number)

    def reap(self) -> int | None:
        """Wait for its end, and return its status; see `reap`."""
        return reap(self.pid)

    def resident_bytes(self) -> int:
        """Its resident memory (proc(5))."""
        try:
            text = Path(f"/proc/{self.pid}/statm").read_text()
        except OSError:
            return 0
        return int(text.split()[1]) * _PAGE_BYTES

    def close(self) -> None:
        """Close this process's descriptors for it."""
        self.control.close()
        self.stacks.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def new_process(number: int, title: str, slot: Slot) -> tuple[Process, socket.socket]:
    """Return a process that is not forked yet, and its end of the control socket.

    Raises:
        OSError: there are no descriptors for it.
    """
    stacks = Stacks()
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError:
        stacks.close()
        raise
    ours.setblocking(False)
    theirs.setblocking(False)
    return Process(number, title, slot, ours, stacks), theirs


def send_signal(pidfd: int, number: int) -> None:
    """Send a signal to a process; one that has ended gets none."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)


def fork(process: Process) -> bool:
    """Fork, and return True in the child. Signals stay blocked there."""
    sys.stdout.flush()
    sys.stderr.flush()
    is_child = False
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        with warnings.catch_warnings():
            # CPython counts threads of native libraries too, which prepare for forks themselves.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.pid = os.fork()
        is_child = process.pid == 0
    finally:
        if not is_child:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if not is_child:
        process.pidfd = open_pidfd(process.pid)
    return is_child


def open_pidfd(pid: int) -> int:
    """Return a descriptor of a child that was just forked (pidfd_open(2)).

    Raises:
        OSError: the system gives none. The child is killed: nobody would watch it.
    """
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        os.kill(pid, signal.SIGKILL)
        reap(pid)
        raise OSError(
            error.errno,
            "a process cannot be watched: pidfd_open(2), which Linux has since version 5.3, says:"
            f" {error.strerror} (a seccomp filter, such as that of a container, may forbid it)",
        ) from None


def reap(pid: int) -> int | None:
    """Wait for the end of a child, and return its status as `os.waitpid` does.

    None if nobody knows it: other code of the program has taken it.
    """
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return None


def keep_exit_statuses() -> None:
    """Let the kernel keep how children end, on the main thread.

    It does not in a program that was started with SIGCHLD ignored, as some supervisors and shells
    do it (waitpid(2)).
    """
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def capital(text: str) -> str:
    """A text as the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def told_status(status: int | None) -> str:
    """How a process has ended, in words."""
    if status is None:
        return "ended, and its status is not known"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(number).name}"
        return f"was killed by signal {number}"
    return f"ended with status {os.WEXITSTATUS(status)}"


@dataclass(slots=True, eq=False)
class Place:
    """The place of one worker among all.

    Attributes:
        number: Its number, from 1.
        process: What has it now.
        start_at: When the next process starts in it.
        wait_seconds: How long the latest wait before a start was.
        failures: How many processes in a row could not start.
    """

    number: int
    process: Process | None = None
    start_at: float | None = 0.0
    wait_seconds: float = 0.0
    failures: int = 0


def rest_of(process: Process) -> str:
    """What a process that stops still does, in words."""
    if not process.is_serving:
        return "its start has not returned"
    count = process.slot[Word.OPEN]
    return f"it has {counted(count, 'connection')}" if count else "its on_stop may still run"


def why_to_kill(process: Process, limits: Workers, now: float, *, is_forced: bool) -> str | None:
    """Why a process is to be killed now; None if it is not.

    Args:
        process: The process.
        limits: What it may do.
        now: The monotonic clock.
        is_forced: Whether everything is to end at once.
    """
    since = process.leaves_since
    if process.lost_at is not None and now - process.lost_at > _LOST_SECONDS:
        return "it has closed the descriptors of its server"
    if not process.is_serving and since is None:
        limit = limits.start_seconds
        if limit is None or now - process.started < limit:
            return None
        return f"its start has taken longer than start_seconds, {limit:g} s"
    silent = process.slot.silent_seconds
    if not process.is_serving and since is not None:
        # A start may block the loop.
        silent = min(silent, now - since)
    if limits.hang_seconds is not None and silent > limits.hang_seconds:
        return f"its event loop was blocked for {silent:.1f} s"
    if since is None or process.kill_at is None or now < process.kill_at:
        return None
    own_end = process.slot.drained_at + (limits.stop_seconds or 0.0)
    if own_end > now and not is_forced:
        return None
    return f"it has not ended {now - since:.1f} s after it began to stop; {rest_of(process)}"
