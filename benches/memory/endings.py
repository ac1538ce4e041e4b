"""How soon after the limit was reached the last process of a tree is gone, over many kills.

Measured from outside: from the last page that the program touched, by its own count
(`programs/twenty.py`), until the last of its twenty processes has ended (pidfd_open(2)). The
process that waits for that runs before all ordinary ones, or it would measure its own delay on a
busy machine.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benches.memory.limits import PROGRAMS
from benches.memory.programs.counted import read
from benches.memory.tools import Tool
from vespiary.prove.quantities import size_text

PROCESSES = 20
SPINNING = 12
PROMISED_SECONDS = 0.1
_SECONDS_MAX = 60.0
_SET_PARENT_DEATH_SIGNAL = 1


@dataclass(frozen=True)
class Endings:
    """Many kills by one tool.

    Attributes:
        tool: Its name.
        limit: Bytes.
        is_busy: Whether other processes wanted the processors.
        runnable: How many processes wanted them, ours included: the median.
        seconds: Of each kill, from the last page until the last process had ended.
    """

    tool: str
    limit: int
    is_busy: bool
    runnable: float
    seconds: list[float]

    @property
    def late(self) -> int:
        """How many took longer than promised."""
        return sum(seconds > PROMISED_SECONDS for seconds in self.seconds)


@contextlib.contextmanager
def spinning(count: int) -> Iterator[None]:
    """Processes that take all the time they get, each in a session of its own.

    They end with this one, also when it is killed.
    """
    command = [sys.executable, "-c", "while True: pass"]
    prctl = ctypes.CDLL(None).prctl
    processes = [
        subprocess.Popen(
            command,
            start_new_session=True,
            preexec_fn=lambda: prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0),
        )
        for _ in range(count)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(tool: Tool, limit: int, kills: int, *, is_busy: bool) -> Endings:
    """Let the tool end the program so many times."""
    seconds, runnable = [], []
    with spinning(SPINNING if is_busy else 0):
        for _ in range(kills):
            seconds.append(_one(tool, limit))
            runnable.append(int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0]))
    return Endings(tool.name, limit, is_busy, statistics.median(runnable), seconds)


def _one(tool: Tool, limit: int) -> float:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        words = tool.words(limit, [sys.executable, str(PROGRAMS / "twenty.py")])
        process = subprocess.Popen(
            words,
            env={**os.environ, "COUNTED": folder},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with _first():
            gone = _gone(_processes(Path(folder)))
        process.wait()
        return gone - max(at for _, at in map(read, Path(folder).iterdir()))


@contextlib.contextmanager
def _first() -> Iterator[None]:
    """Run before all ordinary processes; it needs rights."""
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(2))
    yield
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _processes(folder: Path) -> list[int]:
    """A descriptor for each process of the program, as soon as all are there."""
    deadline = time.monotonic() + _SECONDS_MAX
    while len(pids := [int(path.name) for path in folder.iterdir()]) < PROCESSES:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(pids)} of {PROCESSES} processes came")
        time.sleep(0.001)
    return [os.pidfd_open(pid) for pid in pids]


def _gone(processes: list[int]) -> float:
    """When the last of the processes had ended, on the monotonic clock."""
    poll = select.poll()
    for process in processes:
        poll.register(process, select.POLLIN)
    left = len(processes)
    while left:
        ready = poll.poll(_SECONDS_MAX * 1000)
        if not ready:
            raise TimeoutError(f"{left} processes did not end")
        for process, _ in ready:
            poll.unregister(process)
            os.close(process)
            left -= 1
    return time.monotonic()


def row(endings: Endings) -> list[str]:
    """A line of the table."""
    found = sorted(1000 * seconds for seconds in endings.seconds)
    ninth = found[len(found) * 9 // 10]
    return [
        endings.tool,
        size_text(endings.limit),
        f"{endings.runnable:g}",
        f"{len(found)}",
        f"{statistics.median(found):.0f} ms",
        f"{ninth:.0f} ms",
        f"{found[-1]:.0f} ms",
        f"{endings.late}",
    ]
