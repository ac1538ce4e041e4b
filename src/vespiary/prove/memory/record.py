"""Memory over time, of all processes together and of each. The size of the record is limited.

When a series is full, every second sample is dropped, and from then on only every second one is
taken. So it covers the whole run at equal distances, however long the run is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from vespiary.prove.memory.processes import Memory, describe
from vespiary.prove.memory.reading import Reading

__all__ = ["KernelSample", "ProcessRecord", "Record", "Sample"]

SAMPLES_MAX = 2000
_PROCESS_SAMPLES_MAX = 300
_PROCESSES_MAX = 500
_KERNEL_SAMPLES_MAX = 300
_RENAMED_SECONDS = 1.0

Item = TypeVar("Item")


class Sample(NamedTuple):
    """One moment.

    Attributes:
        seconds: Since the start.
        memory: By kind.
        kernel: Bytes that the kernel holds.
        work: Units of work done so far, as the program reports.
    """

    seconds: float
    memory: Memory
    kernel: int
    work: int


class KernelSample(NamedTuple):
    """What the kernel says of a control group at one moment.

    Attributes:
        seconds: Since the start.
        stat: The numbers of its `memory.stat`.
        pressure: Shares of the last 10 seconds that some or all of its processes waited for memory,
            in percent.
    """

    seconds: float
    stat: dict[str, int]
    pressure: dict[str, float]


class Thinned(Generic[Item]):
    """A series of bounded length over a time of any length.

    Attributes:
        items: What is kept.
    """

    def __init__(self, count_max: int) -> None:
        self.items: list[Item] = []
        self._count_max = count_max
        self._stride = 1
        self._count = 0

    def add(self, item: Item) -> None:
        """Keep an item, if it is its turn."""
        if self._count % self._stride == 0:
            self.items.append(item)
            if len(self.items) > self._count_max:
                del self.items[1::2]
                self._stride *= 2
        self._count += 1


@dataclass
class ProcessRecord:
    """One process.

    Attributes:
        pid: Its number.
        name: Of its program.
        command: Its words.
        began: When it was seen first, in seconds since the start.
        ended: When it was seen last.
        peak: The sample in which it used most.
        last: Its memory when it was seen last.
        samples: Its memory, with the seconds since the start.
    """

    pid: int
    name: str
    command: str
    began: float
    ended: float
    peak: Memory = field(default_factory=Memory)
    last: Memory = field(default_factory=Memory)
    samples: Thinned[tuple[float, Memory]] = field(
        default_factory=lambda: Thinned(_PROCESS_SAMPLES_MAX)
    )


class Record:
    """What was seen of a run.

    Attributes:
        peak: The most bytes that were used at once: private and shared.
        peak_seconds: When that was.
        processes: Each process, in the order in which they were seen.
        processes_omitted: How many were seen beyond the limit of those that are kept.
        seconds: When processes were checked last.
    """

    def __init__(self) -> None:
        self.peak = 0
        self.peak_seconds = 0.0
        self.processes: list[ProcessRecord] = []
        self.processes_omitted = 0
        self.seconds = 0.0
        self._samples: Thinned[Sample] = Thinned(SAMPLES_MAX)
        self._kernel: Thinned[KernelSample] = Thinned(_KERNEL_SAMPLES_MAX)
        self._before = Reading(Memory(), 0, 0)
        self._alive: dict[int, ProcessRecord | None] = {}

    @property
    def samples(self) -> list[Sample]:
        """The memory of all processes together."""
        return self._samples.items

    @property
    def kernel(self) -> list[KernelSample]:
        """What the kernel said of the control group; nothing without one."""
        return self._kernel.items

    def add_kernel(self, sample: KernelSample) -> None:
        """Take in what the kernel says, if it says something."""
        if sample.stat:
            self._kernel.add(sample)

    def add(self, seconds: float, reading: Reading, work: int) -> None:
        """Take in what all processes use."""
        self._samples.add(Sample(seconds, reading.memory, reading.kernel, work))
        self.reach(max(reading.memory.used, self._between(reading)), seconds)
        self._before = reading

    def _between(self, now: Reading) -> int:
        """What was used at most since the look before, as far as the kernel's mark says.

        The mark counts the cache too, and what the kernel holds: the most of both is taken off.
        """
        before = self._before
        if now.mark is None or before.mark is None or now.mark <= before.mark:
            return 0
        cache = max(now.memory.cache, before.memory.cache)
        return now.mark - cache - max(now.kernel, before.kernel)

    def reach(self, used: int, seconds: float) -> None:
        """Note that so much was used at a time."""
        if used > self.peak:
            self.peak, self.peak_seconds = used, seconds

    def add_processes(self, seconds: float, memories: dict[int, Memory]) -> None:
        """Add the memory of each process, and remember which processes were there last."""
        if not memories:
            return
        self.seconds = seconds
        for pid in self._alive.keys() - memories.keys():
            del self._alive[pid]
        for pid, memory in memories.items():
            if pid not in self._alive:
                self._alive[pid] = self._new(pid, seconds)
            record = self._alive[pid]
            if record is not None:
                self._extend(record, seconds, memory)

    def _new(self, pid: int, seconds: float) -> ProcessRecord | None:
        if len(self.processes) >= _PROCESSES_MAX:
            self.processes_omitted += 1
            return None
        known = describe(pid)
        name, command = (known.name, known.command) if known is not None else ("?", "?")
        record = ProcessRecord(pid, name, command, seconds, seconds)
        self.processes.append(record)
        return record

    @staticmethod
    def _extend(record: ProcessRecord, seconds: float, memory: Memory) -> None:
        if not record.samples.items or record.ended - record.began < _RENAMED_SECONDS:
            # A child has its parent's name until it executes its own program.
            known = describe(record.pid)
            if known is not None:
                record.name, record.command = known.name, known.command
        record.ended = seconds
        record.last = memory
        record.peak = max(record.peak, memory, key=lambda each: each.used)
        record.samples.add((seconds, memory))

    def biggest(self, count: int) -> list[ProcessRecord]:
        """The processes that used most when they were checked last."""
        alive = [record for record in self._alive.values() if record is not None]
        return sorted(alive, key=lambda record: record.last.used, reverse=True)[:count]
