"""The CPU time and the memory of a running server, seen from outside.

Linux gives every process a CPU clock with nanosecond resolution that others may read
(clock_getcpuclockid(3)); its number is the process id turned over and shifted, with 2 for the
scheduler's own account. It covers all threads, those that ended too, user and system time, and the
network's soft interrupts as far as they ran on the process's time: on loopback, nearly all of it.
"""

import bisect
import threading
import time
from pathlib import Path


def cpu_nanoseconds(process: int) -> int:
    """CPU time that the process has used. Raises OSError when there is no such process."""
    return time.clock_gettime_ns((~process << 3) | 2)


def family(process: int) -> list[int]:
    """The process and all its descendants."""
    found = [process]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found.extend(int(word) for word in children.read_text().split())
            except OSError:
                continue
    return found


def resident_bytes(processes: list[int]) -> int:
    """Resident memory of the processes together, in bytes; what they share counts for each."""
    total = 0
    for process in processes:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) * 1024
    return total


def core_busy_nanoseconds(core: int) -> int:
    """Time that a core was not idle since boot, in steps of the kernel's tick (4 to 10 ms)."""
    for line in Path("/proc/stat").read_text().splitlines():
        words = line.split()
        if words[0] == f"cpu{core}":
            ticks = [int(word) for word in words[1:9]]
            idle, waiting = ticks[3], ticks[4]
            return (sum(ticks) - idle - waiting) * 10_000_000
    raise LookupError(f"core {core} is not in /proc/stat")


class MemorySampler:
    """Reads resident memory at intervals: `samples` holds moments and bytes."""

    def __init__(self, processes: list[int], interval_seconds: float = 0.05) -> None:
        self._processes = processes
        self._interval = interval_seconds
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory sampler", daemon=True)
        self.samples: list[tuple[int, int]] = []

    def __enter__(self) -> "MemorySampler":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(self._interval):
            try:
                size = resident_bytes(self._processes)
            except OSError:
                return
            self.samples.append((time.monotonic_ns(), size))


class Sampler:
    """Reads CPU clocks at short intervals, so that the time between two moments can be measured.

    A load client tells afterwards when its steady phase began and ended; the clocks at those
    moments are interpolated between two samples.
    """

    def __init__(self, processes: list[int], interval_seconds: float = 0.002) -> None:
        self._processes = processes
        self._interval = interval_seconds
        self._moments: list[int] = []
        self._values: list[int] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> "Sampler":
        self._take()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ending.set()
        self._thread.join()
        self._take()

    def _run(self) -> None:
        while not self._ending.wait(self._interval):
            if not self._take():
                return

    def _take(self) -> bool:
        try:
            value = sum(cpu_nanoseconds(process) for process in self._processes)
        except OSError:
            return False
        self._moments.append(time.monotonic_ns())
        self._values.append(value)
        return True

    def at(self, moment: int) -> float:
        """CPU nanoseconds at a moment of CLOCK_MONOTONIC.

        Raises:
            ValueError: No samples lie around that moment: the server was gone, or it is outside.
        """
        right = bisect.bisect_left(self._moments, moment)
        if right == 0 or right == len(self._moments):
            raise ValueError("the server was not running throughout the measurement")
        before, after = self._moments[right - 1], self._moments[right]
        share = (moment - before) / (after - before)
        return self._values[right - 1] + share * (self._values[right] - self._values[right - 1])

    def whole(self) -> tuple[int, int]:
        """How long was sampled, and the CPU time used meanwhile; both in nanoseconds."""
        return self._moments[-1] - self._moments[0], self._values[-1] - self._values[0]

    def between(self, begin: int, end: int) -> float:
        """CPU nanoseconds used between two moments."""
        return self.at(end) - self.at(begin)
