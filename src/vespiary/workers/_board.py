"""The memory that a supervisor and its workers share: what each process does and has counted.

Memory that is mapped before the first fork, so that every process has it, and what a killed
worker has counted stays. It consists of words of 64 bits, which the processors write and read
whole. A **slot** belongs to one process at a time, which alone writes it, besides the supervisor
before its start and after its end. A worker that drains and the one that replaces it both need a
slot: there are twice as many as workers.

The **past** of a worker is what its earlier processes have counted. When one has ended, the
supervisor adds what is in its slot to the past and clears the slot. Meanwhile its counts would be
missing or there twice, so a number says that (a sequence lock): it is odd during the change, and
a reader begins again if it was odd, or is another one at the end.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import TypeVar

from vespiary.statistics import WorkerStatistics
from vespiary.workers._counters import WORDS, Counts

__all__ = ["Board", "Slot", "State", "Word"]

T = TypeVar("T")

_WORD_BYTES = 8
_ATTEMPTS_MAX = 10_000


class State(IntEnum):
    """What the process of a slot does."""

    FREE = 0
    STARTING = 1
    SERVING = 2
    LEAVING = 3


class Word(IntEnum):
    """The words at the beginning of a slot. The counts of each endpoint follow."""

    STATE = 0
    WORKER = 1
    PROCESS = 2
    BEAT = 3
    """When the loop of the process ran last, in nanoseconds of the monotonic clock."""
    OPEN = 4
    """Connections that it has now, handshakes included."""
    ACCEPTED = 5
    """Connections that it has accepted."""
    PUBLISHED = 6
    RECEIVED = 7
    DROPPED = 8
    DRAINED_AT = 9
    """When a drain of its program's own ends, in nanoseconds of the monotonic clock; or 0."""


class _PastWord(IntEnum):
    """The words at the beginning of a worker's past. The counts of each endpoint follow."""

    STARTED = 0
    PUBLISHED = 1
    RECEIVED = 2
    DROPPED = 3


_KEPT = (
    (Word.PUBLISHED, _PastWord.PUBLISHED),
    (Word.RECEIVED, _PastWord.RECEIVED),
    (Word.DROPPED, _PastWord.DROPPED),
)
"""Numbers of a slot that are added to the past."""


class Board:
    """The slots of all processes of a server, and the past of its workers.

    Args:
        workers: How many there are.
        urls: The endpoints that the server has at its start.
        descriptor: A file in memory, where a process that is not forked from this one has the same
            board; default: anonymous memory.
    """

    def __init__(self, workers: int, urls: Sequence[str], descriptor: int = -1) -> None:
        self.workers, self.urls = workers, list(urls)
        self.count = 2 * workers
        counts = WORDS * len(self.urls)
        self.words_per_slot = len(Word) + counts
        self._words_per_past = len(_PastWord) + counts
        self._past = self.count * self.words_per_slot
        self._sequence = self._past + workers * self._words_per_past
        size = (self._sequence + 1) * _WORD_BYTES
        if descriptor >= 0:
            os.ftruncate(descriptor, size)
        self.memory = mmap.mmap(descriptor, size)
        self.words = memoryview(self.memory).cast("Q")
        self.slots = [Slot(self, index) for index in range(self.count)]

    def take(self, worker: int) -> Slot | None:
        """A free slot for a process of a worker that is about to start; None if there is none."""
        for slot in self.slots:
            if slot[Word.STATE] == State.FREE:
                slot[Word.WORKER] = worker
                slot[Word.STATE] = State.STARTING
                self.words[self._past_of(worker) + _PastWord.STARTED] += 1
                return slot
        return None

    def give_back(self, slot: Slot) -> None:
        """Add to the past what a process has counted that has ended; its slot is free then."""
        past = self._past_of(slot[Word.WORKER])
        self.words[self._sequence] += 1
        for word, past_word in _KEPT:
            self.words[past + past_word] += slot[word]
        for index in range(len(self.urls)):
            place = past + len(_PastWord) + index * WORDS
            total = Counts.read(self.words, place) + slot.counts(index).ended()
            total.write(self.words, place)
        slot.clear()
        self.words[self._sequence] += 1

    def give_back_unused(self, slot: Slot) -> None:
        """Free the slot of a process that could not be started."""
        self.words[self._past_of(slot[Word.WORKER]) + _PastWord.STARTED] -= 1
        slot.clear()

    def clear_up(self) -> None:
        """Give back the slots that a supervisor which was killed has left."""
        self.words[self._sequence] += self.words[self._sequence] % 2
        for slot in self.slots:
            if slot[Word.STATE] != State.FREE:
                self.give_back(slot)

    def statistics(self) -> tuple[WorkerStatistics, ...]:
        """What each worker has counted, with its earlier processes."""
        return self._consistent(
            lambda: tuple(self._worker(number) for number in range(1, self.workers + 1))
        )

    def _consistent(self, read: Callable[[], T]) -> T:
        for _ in range(_ATTEMPTS_MAX):
            before = self.words[self._sequence]
            result = read()
            if before % 2 == 0 and before == self.words[self._sequence]:
                return result
            time.sleep(0)
        # The supervisor was killed in the middle of a change. The kernel kills this process too.
        return read()

    def _worker(self, number: int) -> WorkerStatistics:
        past = self._past_of(number)
        slots = [slot for slot in self.slots if slot[Word.WORKER] == number]
        serving = [slot for slot in slots if slot[Word.STATE] == State.SERVING]
        endpoints = []
        for index, url in enumerate(self.urls):
            place = past + len(_PastWord) + index * WORDS
            counts = Counts.read(self.words, place)
            for slot in slots:
                counts += slot.counts(index)
            endpoints.append(counts.statistics(url))
        published, received, dropped = (
            self.words[past + past_word] + sum(slot[word] for slot in slots)
            for word, past_word in _KEPT
        )
        return WorkerStatistics(
            number=number,
            process=serving[0][Word.PROCESS] if serving else None,
            processes_started=self.words[past + _PastWord.STARTED],
            endpoints=tuple(endpoints),
            published_messages_sent=published,
            published_messages_received=received,
            published_messages_dropped=dropped,
        )

    def _past_of(self, worker: int) -> int:
        return self._past + (worker - 1) * self._words_per_past

    def close(self) -> None:
        """Give the memory back."""
        self.words.release()
        self.memory.close()


class Slot:
    """The words of one process."""

    def __init__(self, board: Board, index: int) -> None:
        self._board = board
        self.index = index
        self._first = index * board.words_per_slot

    def __getitem__(self, word: int) -> int:
        return self._board.words[self._first + word]

    def __setitem__(self, word: int, value: int) -> None:
        self._board.words[self._first + word] = value

    def clear(self) -> None:
        """Set everything to zero: the slot is free."""
        first, count = self._first, self._board.words_per_slot
        self._board.words[first : first + count] = memoryview(bytes(8 * count)).cast("Q")

    def first_count(self, endpoint: int) -> int:
        """The first of the words for the counts of an endpoint."""
        return self._first + len(Word) + endpoint * WORDS

    def counts(self, endpoint: int) -> Counts:
        """What the process has counted at an endpoint."""
        return Counts.read(self._board.words, self.first_count(endpoint))

    def beat(self) -> None:
        """Note that the loop of the process runs."""
        self[Word.BEAT] = time.monotonic_ns()

    @property
    def drained_at(self) -> float:
        """When a drain ends that the program has asked for with a time of its own; or 0."""
        return self[Word.DRAINED_AT] / 1e9

    @property
    def silent_seconds(self) -> float:
        """How long the event loop has been blocked."""
        return (time.monotonic_ns() - self[Word.BEAT]) / 1e9
