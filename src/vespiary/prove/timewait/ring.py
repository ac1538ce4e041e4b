"""The kernel's ring buffer of a performance event, read from Python.

The first page is a header; behind it lies a ring of 2^n pages. The kernel writes records and then
moves `data_head`; the reader takes what lies between `data_tail` and `data_head` and then moves
`data_tail`, so that the kernel may use the room again. A record may wrap around the end. What finds
no room is counted by the kernel, and reported as a record of its own once there is room.

Between reading `data_head` and the records a processor with weak ordering needs a barrier. Python
has none; the read is behind a system call (`poll` or the dump), and the copy of the ring is taken
by `memcpy` hundreds of instructions after the head was read.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

__all__ = ["COMM", "EXIT", "FORK", "LOST", "SAMPLE", "Record", "Ring", "records"]

COMM, LOST, EXIT, FORK, SAMPLE = 3, 2, 4, 7, 9
"""Types of records (perf_event_open(2))."""

_HEAD_OFFSET: Final = 1024
_TAIL_OFFSET: Final = 1032
_WORD = struct.Struct("=Q")
_HEADER = struct.Struct("=IHH")


class Memory(Protocol):
    """What a ring lies in: a mapping, or bytes in a test."""

    def __getitem__(self, key: slice) -> bytes:
        """A copy of a part."""
        ...

    def __setitem__(self, key: slice, value: bytes) -> None:
        """Overwrite a part."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its type, and its bytes behind the header."""

    kind: int
    body: bytes


class Ring:
    """The reading end of one ring."""

    def __init__(self, memory: Memory, ring_bytes: int) -> None:
        self._memory = memory
        self._bytes = ring_bytes

    def take(self) -> bytes:
        """Take all that lies in the ring, and free its room."""
        head = self._word(_HEAD_OFFSET)
        tail = self._word(_TAIL_OFFSET)
        if head == tail:
            return b""
        first, last = tail % self._bytes, head % self._bytes
        if first < last:
            data = self._part(first, last)
        else:
            data = self._part(first, self._bytes) + self._part(0, last)
        self._memory[_TAIL_OFFSET : _TAIL_OFFSET + _WORD.size] = _WORD.pack(head)
        return data

    def _word(self, offset: int) -> int:
        word: int = _WORD.unpack(self._memory[offset : offset + _WORD.size])[0]
        return word

    def _part(self, first: int, last: int) -> bytes:
        return self._memory[mmap.PAGESIZE + first : mmap.PAGESIZE + last]


def records(data: bytes) -> Iterator[Record]:
    """Cut what a ring held into records; bytes that are not a whole record end it."""
    offset = 0
    while len(data) - offset >= _HEADER.size:
        kind, _, size = _HEADER.unpack_from(data, offset)
        if not _HEADER.size <= size <= len(data) - offset:
            return
        yield Record(kind, data[offset + _HEADER.size : offset + size])
        offset += size
