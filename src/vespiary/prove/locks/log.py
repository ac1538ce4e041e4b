"""The log of the preloaded library's full mode: every acquisition of one process.

It is a page that contains its size, and an array. It is next to the record of the process, and uses
the numbers of locks, threads and stacks from it.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from vespiary.prove.locks import layout
from vespiary.prove.locks.layout import AFTER_WAIT, AGAIN, CONTENDED, FAILED, SHARED, TRIED
from vespiary.prove.locks.record import Record

__all__ = [
    "AFTER_WAIT",
    "AGAIN",
    "CONTENDED",
    "FAILED",
    "SHARED",
    "TRIED",
    "Log",
    "LogError",
    "keep_all",
    "log_of",
]

_PAGE = 4096
_ENTRY = layout.ACQUISITION_STRUCT

Acquisition = tuple[int, int, int, int, int, int, int]
"""When it was wanted, taken and released, in nanoseconds of CLOCK_MONOTONIC (0: it was not, or not
yet); the lock's and the thread's number; the place of its stack plus one; how, as bits."""


class LogError(Exception):
    """A file is not a log of acquisitions, or of another version."""


class Log:
    """The log of one process.

    Attributes:
        lost: Acquisitions that found no room.
        ended: When the process ended by exit(3), of CLOCK_MONOTONIC; 0 if it ended otherwise.
    """

    lost: int
    ended: int

    def __init__(self, path: Path) -> None:
        """Map a log.

        Raises:
            LogError: it is none.
            OSError: it cannot be read.
        """
        with path.open("rb") as file:
            if path.stat().st_size < _PAGE:
                raise LogError(f"{path}: too short for a log of acquisitions")
            self._map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        head = layout.LogHead._make(layout.LOG_HEAD_STRUCT.unpack_from(self._map))
        self._count = min(head.entries, head.entries_max)
        self.lost, self.ended = head.lost, head.ended
        if self._map[:8] != layout.LOG_MAGIC or head.entry_bytes != _ENTRY.size:
            self._map.close()
            raise LogError(f"{path}: not a log of acquisitions, or of another version")

    def __iter__(self) -> Iterator[Acquisition]:
        """All acquisitions; those of one thread in the order in which it made them."""
        end = _PAGE + self._count * _ENTRY.size
        with memoryview(self._map) as whole, whole[_PAGE:end] as part:
            for entry in _ENTRY.iter_unpack(part):
                if entry[6]:
                    yield entry

    def stack(self, entry: int) -> int | None:
        """The place of the stack of one acquisition, by its place in the log."""
        place = int(_ENTRY.unpack_from(self._map, _PAGE + entry * _ENTRY.size)[5])
        return place - 1 if place else None

    def close(self) -> None:
        """Unmap it."""
        self._map.close()


def log_of(record: Record) -> Log | None:
    """The log next to a record; None where the full mode is off, or has found no room at all."""
    try:
        return Log(record.path.with_suffix(".log"))
    except (LogError, OSError):
        return None


def remove(record: Record) -> None:
    """Remove the log next to a record, if there is one."""
    record.path.with_suffix(".log").unlink(missing_ok=True)


def keep_all(folder: Path, bytes_max: int) -> dict[str, str]:
    """The environment in which the library keeps every acquisition, in so many bytes at most.

    The bytes that all processes have taken are counted in a file of the folder, which each of them
    may write, no matter who it runs as.
    """
    budget = folder / "full"
    budget.write_bytes(bytes(_PAGE))
    budget.chmod(0o666)
    return {"VESPIARY_LOCKS_FULL": str(bytes_max)}
