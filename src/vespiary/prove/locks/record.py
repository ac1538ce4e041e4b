"""What the preloaded library has written about one process.

The file's layout is the library's (`crates/lockwatch/src/layout.rs`): a header that says where
nine arrays lie and how large their items are, then the arrays. It may be read while the process
runs, and after it has ended in whatever way.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Collection, Iterator
from pathlib import Path

from vespiary.prove.locks.between import Child, Fork, Shared
from vespiary.prove.locks.facts import Edge, Event, Held, Lock, Module, Thread
from vespiary.prove.locks.kinds import EVENTS, KINDS, LOST

__all__ = ["Record", "RecordError", "records", "room"]

_MAGIC = b"vlocks\x00\x02"
_HEADER = struct.Struct("<8sIIQ")
_PLACE = struct.Struct("<QII")
_ARRAYS = 9
_COUNTS = struct.Struct("<8I")
_LOST = struct.Struct("<11Q")
_TAIL = struct.Struct("<6IQ")
_THREAD = struct.Struct("<IIQ8IQQQ16sII")
_HELD = struct.Struct("<QQ6I")
_RECENT_BYTES = 64 * 8
_TASK = struct.Struct("<4I64s")
_TITLE = struct.Struct("<4I")
_STACK_WORDS_MAX = 96
_LOCK = struct.Struct("<QIIIIQIIQQII")
_EDGE = struct.Struct("<8IQQ10IIIQ256s")
_EVENT = struct.Struct("<6IQ")
_MODULE = struct.Struct("<QQQ512s")
_SHARED = struct.Struct("<QQQQIIII")
_CHILD = struct.Struct("<IIIIIIQQ")

_LIFE, _OWNED = 2, 4
_END = 9
_IS_MADE, _IS_RELEASED = 1, 4
_WAITING_OFFSET = 36
_WAITS_SHARED, _WAITS_FOR_SIGNAL = 1, 2
_LEFT_BEHIND = 3
_LIMITED = 4


class RecordError(Exception):
    """A file is not a record of locks, or of another version."""


def _plus_one(value: int) -> int | None:
    return value - 1 if value else None


class Record:
    """The record of one process."""

    def __init__(self, path: Path) -> None:
        """Map a record.

        Raises:
            RecordError: it is none.
            OSError: it cannot be read.
        """
        self.path = path
        with path.open("rb") as file:
            if path.stat().st_size < 4096:
                raise RecordError(f"{path}: too short for a record of locks")
            self._map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        magic, self.pid, self.parent, self.started = _HEADER.unpack_from(self._map)
        if magic != _MAGIC:
            self._map.close()
            raise RecordError(f"{path}: not a record of locks, or of another version")
        offset = _HEADER.size
        self._places = [
            _PLACE.unpack_from(self._map, offset + number * 16) for number in range(_ARRAYS)
        ]
        self._counts_offset = offset + _ARRAYS * _PLACE.size

    def close(self) -> None:
        """Unmap it."""
        self._map.close()

    def discard(self) -> None:
        """Unmap it, and remove its file."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _count(self, which: int, place: int) -> int:
        counts = _COUNTS.unpack_from(self._map, self._counts_offset)
        return int(min(counts[which], self._places[place][2]))

    @property
    def lost(self) -> dict[str, int]:
        """What found no room, by name; empty when everything did."""
        offset = self._counts_offset + _COUNTS.size
        counts = _LOST.unpack_from(self._map, offset)
        return {name: count for name, count in zip(LOST, counts, strict=True) if count}

    @property
    def operations(self) -> int:
        """Locks taken in all."""
        return sum(thread.operations for thread in self.threads())

    def threads(self) -> list[Thread]:
        """All threads, those that have ended included."""
        offset, size, _ = self._places[0]
        found = []
        for number in range(self._count(0, 0)):
            thread = self._thread(number, offset + number * size)
            if thread is not None:
                found.append(thread)
        return found

    def waits(self) -> bool:
        """Whether any thread waits for a lock."""
        offset, size, _ = self._places[0]
        return any(
            self._map[at : at + 4] != b"\0\0\0\0"
            for at in range(
                offset + _WAITING_OFFSET,
                offset + self._count(0, 0) * size,
                size,
            )
        )

    def _thread(self, number: int, at: int) -> Thread | None:
        (
            tid,
            state,
            _handle,
            parent,
            born,
            joiner,
            joined,
            _segment,
            waiting,
            mode,
            stack,
            since,
            operations,
            contended,
            name,
            held_count,
            _inside,
        ) = _THREAD.unpack_from(self._map, at)
        if state == 0:
            return None
        held = []
        for position in range(min(held_count, 64)):
            _address, site, lock, shared, depth, entry, task, _ = _HELD.unpack_from(
                self._map, at + _THREAD.size + position * _HELD.size
            )
            if depth:
                held.append(Held(lock, bool(shared), site, _plus_one(task), _plus_one(entry)))
        at += _THREAD.size + 64 * _HELD.size + _RECENT_BYTES
        marks, carrier, coroutine, _, task_name = _TASK.unpack_from(self._map, at)
        title, _, _, retaking = _TITLE.unpack_from(self._map, at + _TASK.size)
        if carrier:
            name = task_name
        return Thread(
            number,
            tid,
            state == 1,
            _plus_one(parent),
            born,
            _plus_one(joiner),
            joined,
            _plus_one(waiting),
            mode == _WAITS_SHARED,
            _plus_one(stack),
            since,
            operations,
            contended,
            self.text(title - 1)[0] if title else name.partition(b"\0")[0].decode(errors="replace"),
            tuple(held),
            _plus_one(carrier),
            self.text(coroutine - 1)[0] if coroutine else "",
            mode == _WAITS_FOR_SIGNAL,
            state == _LEFT_BEHIND,
            bool(marks & _LIMITED),
            _plus_one(retaking),
        )

    def lock(self, number: int) -> Lock:
        """The lock with a number."""
        offset, size, _ = self._places[1]
        fields = _LOCK.unpack_from(self._map, offset + number * size)
        address, kind, state, owner, stack, site, flavour, _, _, _, made, shared = fields
        return Lock(
            number,
            address,
            KINDS.get(kind, "lock"),
            state == 1,
            _plus_one(owner),
            _plus_one(stack),
            site,
            flavour not in (0, _OWNED),
            bool(made & _IS_MADE),
            flavour == _OWNED,
            self._shared(shared - 1) if shared else None,
            flavour == _LIFE or kind == _END,
            bool(made & _IS_RELEASED),
        )

    def _shared(self, number: int) -> Shared:
        offset, size, _ = self._places[7]
        device, inode, where, entered, made, robust, lock, _ = _SHARED.unpack_from(
            self._map, offset + number * size
        )
        return Shared((device, inode, where), lock, entered, made != 0, robust != 0)

    @property
    def _tail(self) -> tuple[int, ...]:
        """Whether it has ended; how many shared locks and children; how it was forked."""
        offset = self._counts_offset + _COUNTS.size + _LOST.size
        return _TAIL.unpack_from(self._map, offset)

    def shared(self) -> Iterator[Shared]:
        """The locks that other processes may have."""
        count = min(self._tail[1], int(self._places[7][2]))
        yield from (self._shared(number) for number in range(count))

    @property
    def fork(self) -> Fork | None:
        """How it was forked, None if it was not, or from a process that took no lock."""
        _, _, _, thread, stack, moment, started = self._tail
        return Fork(started, thread, moment, _plus_one(stack)) if started else None

    def children(self) -> list[Child]:
        """The processes that this one has made."""
        offset, size, most = self._places[8]
        found = []
        for number in range(min(self._tail[2], int(most))):
            pid, maker, born, waiter, waited, _, made, ended = _CHILD.unpack_from(
                self._map, offset + number * size
            )
            if pid:
                found.append(Child(pid, maker, born, _plus_one(waiter), waited, made, ended))
        return found

    @property
    def size(self) -> tuple[int, int]:
        """How many orders and events there are: while it stays, there is nothing new."""
        return self._count(2, 2), self._count(3, 3)

    @property
    def lock_count(self) -> int:
        """How many locks were seen."""
        return self._count(1, 1)

    def edges(self) -> Iterator[Edge]:
        """All orders."""
        offset, size, _ = self._places[2]
        for number in range(self._count(2, 2)):
            fields = _EDGE.unpack_from(self._map, offset + number * size)
            ready, thread, segment, first, to, modes, stack, gate_count, site, to_site = fields[:10]
            if ready:
                gates = frozenset(fields[10 : 10 + min(gate_count, 10)])
                shared, to_shared = bool(modes & 1), bool(modes & 2)
                yield Edge(
                    thread,
                    segment,
                    first,
                    to,
                    shared,
                    to_shared,
                    _plus_one(stack),
                    site,
                    to_site,
                    gates,
                    _plus_one(fields[20]),
                    fields[22],
                    bool(modes & 4),
                    _plus_one(fields[21]),
                    fields[23],
                )

    def events(self) -> Iterator[Event]:
        """All that was written down for itself."""
        offset, size, _ = self._places[3]
        for number in range(self._count(3, 3)):
            ready, what, thread, lock, other, stack, site = _EVENT.unpack_from(
                self._map, offset + number * size
            )
            if ready:
                yield Event(
                    EVENTS.get(what, "unknown"),
                    thread,
                    lock,
                    _plus_one(other),
                    _plus_one(stack),
                    site,
                )

    def stack(self, place: int | None, site: int = 0) -> list[int]:
        """The return addresses of a kept stack, innermost first; without one, `site` alone."""
        if place is None:
            return [site] if site else []
        offset, _, most = self._places[4]
        (length,) = struct.unpack_from("<Q", self._map, offset + place * 8)
        length = min(length, _STACK_WORDS_MAX, most - place - 1)
        return list(struct.unpack_from(f"<{length}Q", self._map, offset + (place + 1) * 8))

    def text(self, place: int) -> tuple[str, str]:
        """A function's name and its file, as the interpreter told them."""
        offset = int(self._places[6][0]) + place
        middle = self._map.find(b"\0", offset)
        end = self._map.find(b"\0", middle + 1)
        function = self._map[offset:middle].decode(errors="replace")
        return function, self._map[middle + 1 : end].decode(errors="replace")

    def modules(self) -> list[Module]:
        """The loaded objects that stacks have met."""
        offset, size, _ = self._places[5]
        found = []
        for number in range(self._count(5, 5)):
            bias, start, end, path = _MODULE.unpack_from(self._map, offset + number * size)
            if end:
                text = path.partition(b"\0")[0].decode(errors="surrogateescape")
                found.append(Module(bias, start, end, text))
        return found


_MEMORY_FILES = Path("/dev/shm")
_ROOM_BYTES = 2 << 30


def room() -> Path | None:
    """Where a run's folder goes: in memory if there is much room, else None, as temporary files do.

    On a disk a process would wait for it at the first write to each page of its record.
    """
    try:
        seen = os.statvfs(_MEMORY_FILES)
    except OSError:
        return None
    has_room = seen.f_bavail * seen.f_frsize > _ROOM_BYTES and os.access(_MEMORY_FILES, os.W_OK)
    return _MEMORY_FILES if has_room else None


def records(folder: Path, known: Collection[Path] = ()) -> Iterator[Record]:
    """The records in a folder but those `known`; one that is being made is passed over."""
    for path in sorted(folder.glob("*.locks")):
        if path not in known:
            try:
                yield Record(path)
            except (RecordError, OSError, ValueError):
                continue
