"""The record that the preloaded library writes about one process.

The file has a header with the places of nine arrays, and then the arrays (`layout`, which is
generated from the library's own definition). It may be read while the process runs, and after it
has ended in any way.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from vespiary.prove.locks import layout, namespaces
from vespiary.prove.locks.between import Child, Fork, Shared
from vespiary.prove.locks.facts import Edge, Event, Held, Lock, Module, Thread
from vespiary.prove.locks.kinds import EVENTS, KINDS, LOST
from vespiary.prove.locks.survivors import lives

__all__ = ["Record", "RecordError", "records"]

_THREADS, _LOCKS, _EDGES, _EVENTS, _WORDS, _MODULES, _TEXT, _SHARED, _CHILDREN = range(
    layout.ARRAYS
)
_ITEM_BYTES = {
    _THREADS: layout.THREAD_STRUCT.size,
    _LOCKS: layout.LOCK_STRUCT.size,
    _EDGES: layout.EDGE_STRUCT.size,
    _EVENTS: layout.EVENT_STRUCT.size,
    _MODULES: layout.MODULE_STRUCT.size,
    _SHARED: layout.SHARED_STRUCT.size,
    _CHILDREN: layout.CHILD_STRUCT.size,
}
_STACK_WORDS_MAX = 96


class RecordError(Exception):
    """A file is not a record of locks, or of another version."""


def _plus_one(value: int) -> int | None:
    return value - 1 if value else None


class Record:
    """The record of one process.

    Attributes:
        path: Its file.
        pid: The process's number here; its own if it is not here.
        inner: Its number in its own namespace, to which `parent` belongs too.
        parent: The process that started it.
        started: When, in nanoseconds of CLOCK_MONOTONIC.
    """

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
        header = self._header
        is_ours = self._map[:8] == layout.MAGIC
        self._places = [
            layout.Place._make(
                layout.PLACE_STRUCT.unpack_from(
                    self._map, layout.HEADER_PLACES_OFFSET + number * layout.PLACE_STRUCT.size
                )
            )
            for number in range(layout.ARRAYS)
        ]
        if not is_ours or any(
            self._places[number].item_bytes != size for number, size in _ITEM_BYTES.items()
        ):
            self._map.close()
            raise RecordError(f"{path}: not a record of locks, or of another version")
        self.inner, self.parent, self.started = header.pid, header.parent, header.started
        is_own = namespaces.is_own(header.pid_namespace)
        here = header.pid if is_own else namespaces.find(header.pid, header.pid_namespace)
        self._is_here = here is not None
        self.pid = header.pid if here is None else here

    @property
    def _header(self) -> layout.Header:
        return layout.Header._make(layout.HEADER_STRUCT.unpack_from(self._map))

    @property
    def lives(self) -> bool:
        """Whether the process runs."""
        return self._is_here and lives(self.pid)

    def close(self) -> None:
        """Unmap it."""
        self._map.close()

    def discard(self) -> None:
        """Unmap it, and remove its file."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _rows(self, array: int, count: int) -> range:
        """Where each of so many items of an array begins."""
        place = self._places[array]
        end = place.offset + min(count, place.items_max) * place.item_bytes
        return range(place.offset, end, place.item_bytes)

    def _row(self, array: int, number: int) -> int:
        place = self._places[array]
        return place.offset + number * place.item_bytes

    @property
    def lost(self) -> dict[str, int]:
        """What found no room, by name; empty when everything did."""
        counts = struct.unpack(f"<{layout.LOST}Q", self._header.lost)
        return {LOST[layout.Lost(what)]: count for what, count in enumerate(counts) if count}

    @property
    def operations(self) -> int:
        """Locks taken in all."""
        return sum(thread.operations for thread in self.threads())

    def threads(self) -> list[Thread]:
        """All threads, those that have ended included."""
        rows = self._rows(_THREADS, self._header.threads)
        threads = (self._thread(number, at) for number, at in enumerate(rows))
        found = [thread for thread in threads if thread is not None]
        if self.pid == self.inner:
            return found
        here = namespaces.threads(self.pid)
        return [replace(thread, tid=here.get(thread.tid, thread.tid)) for thread in found]

    def waits(self) -> bool:
        """Whether any thread waits for a lock."""
        return any(
            self._map[at + layout.THREAD_WAITING_OFFSET : at + layout.THREAD_WAITING_OFFSET + 4]
            != b"\0\0\0\0"
            for at in self._rows(_THREADS, self._header.threads)
        )

    def _thread(self, number: int, at: int) -> Thread | None:
        row = layout.Thread._make(layout.THREAD_STRUCT.unpack_from(self._map, at))
        if row.state == 0:
            return None
        name = row.task_name if row.carrier else row.name
        return Thread(
            number,
            row.tid,
            row.state == layout.ALIVE,
            _plus_one(row.parent),
            row.born,
            _plus_one(row.joiner),
            row.joined,
            _plus_one(row.waiting),
            row.waiting_mode == layout.WAITS_SHARED,
            _plus_one(row.waiting_stack),
            row.waiting_since,
            row.operations,
            row.contended,
            self.text(row.title - 1)[0]
            if row.title
            else name.partition(b"\0")[0].decode(errors="replace"),
            tuple(self._held(at + layout.THREAD_HELD_OFFSET, row.held_count)),
            _plus_one(row.carrier),
            self.text(row.coroutine - 1)[0] if row.coroutine else "",
            row.waiting_mode == layout.WAITS_FOR_SIGNAL,
            row.state == layout.LEFT_BEHIND,
            bool(row.marks & layout.LIMITED),
            _plus_one(row.retaking),
        )

    def _held(self, at: int, count: int) -> Iterator[Held]:
        size = layout.HELD_STRUCT.size
        for position in range(min(count, layout.HELD_MAX)):
            row = layout.Held._make(layout.HELD_STRUCT.unpack_from(self._map, at + position * size))
            if row.depth:
                yield Held(
                    row.lock, bool(row.mode), row.site, _plus_one(row.task), _plus_one(row.log)
                )

    def lock(self, number: int) -> Lock:
        """The lock with a number."""
        at = self._row(_LOCKS, number)
        row = layout.Lock._make(layout.LOCK_STRUCT.unpack_from(self._map, at))
        return Lock(
            number,
            row.address,
            KINDS.get(row.kind, "lock"),
            row.state == layout.ALIVE,
            _plus_one(row.owner),
            _plus_one(row.stack),
            row.first_site,
            row.flavour not in (0, layout.OWNED),
            bool(row.is_made & layout.IS_MADE),
            row.flavour == layout.OWNED,
            self._shared(self._row(_SHARED, row.shared - 1)) if row.shared else None,
            row.flavour == layout.LIFE or row.kind == layout.Kind.END,
            bool(row.is_made & layout.IS_RELEASED),
        )

    def _shared(self, at: int) -> Shared:
        row = layout.Shared._make(layout.SHARED_STRUCT.unpack_from(self._map, at))
        place = row.device, row.inode, row.offset
        return Shared(place, row.lock, row.entered, row.is_made != 0, row.is_robust != 0)

    def shared(self) -> Iterator[Shared]:
        """The locks that other processes may have."""
        yield from map(self._shared, self._rows(_SHARED, self._header.shared))

    @property
    def fork(self) -> Fork | None:
        """How it was forked, None if it was not, or from a process that took no lock."""
        head = self._header
        if not head.forked_from:
            return None
        return Fork(head.forked_from, head.forker, head.fork_moment, _plus_one(head.fork_stack))

    def children(self) -> list[Child]:
        """The processes that this one has made."""
        rows = (
            layout.Child._make(layout.CHILD_STRUCT.unpack_from(self._map, at))
            for at in self._rows(_CHILDREN, self._header.children)
        )
        return [
            Child(
                row.pid,
                row.maker,
                row.born,
                _plus_one(row.waiter),
                row.waited,
                row.made,
                row.ended,
            )
            for row in rows
            if row.pid
        ]

    @property
    def size(self) -> tuple[int, int]:
        """How many orders and events there are: while it stays, there is nothing new."""
        head = self._header
        return len(self._rows(_EDGES, head.edges)), len(self._rows(_EVENTS, head.events))

    @property
    def lock_count(self) -> int:
        """How many locks were seen."""
        return len(self._rows(_LOCKS, self._header.locks))

    @property
    def module_count(self) -> int:
        """How many loaded objects stacks have met."""
        return len(self._rows(_MODULES, self._header.modules))

    def edges(self) -> Iterator[Edge]:
        """All orders."""
        for at in self._rows(_EDGES, self._header.edges):
            row = layout.Edge._make(layout.EDGE_STRUCT.unpack_from(self._map, at))
            if row.ready:
                gates = struct.unpack(f"<{layout.GATES_MAX}I", row.gates)
                yield Edge(
                    row.thread,
                    row.segment,
                    row.first,
                    row.to,
                    bool(row.modes & layout.FROM_SHARED),
                    bool(row.modes & layout.TO_SHARED),
                    _plus_one(row.stack),
                    row.from_site,
                    row.to_site,
                    frozenset(gates[: row.gate_count]),
                    _plus_one(row.from_stack),
                    row.time,
                    bool(row.modes & layout.PRIVATE),
                    _plus_one(row.clock_index),
                    row.clock,
                )

    def events(self) -> Iterator[Event]:
        """All that was written down for itself."""
        for at in self._rows(_EVENTS, self._header.events):
            row = layout.Event._make(layout.EVENT_STRUCT.unpack_from(self._map, at))
            if row.ready:
                yield Event(
                    EVENTS.get(row.what, "unknown"),
                    row.thread,
                    row.lock,
                    _plus_one(row.other),
                    _plus_one(row.stack),
                    row.site,
                )

    def stack(self, place: int | None, site: int = 0) -> list[int]:
        """The return addresses of a kept stack, innermost first; without one, `site` alone."""
        if place is None:
            return [site] if site else []
        offset, _, most = self._places[_WORDS]
        (length,) = struct.unpack_from("<Q", self._map, offset + place * 8)
        length = min(length, _STACK_WORDS_MAX, most - place - 1)
        return list(struct.unpack_from(f"<{length}Q", self._map, offset + (place + 1) * 8))

    def text(self, place: int) -> tuple[str, str]:
        """A function's name and its file, as the interpreter told them."""
        offset = self._places[_TEXT].offset + place
        middle = self._map.find(b"\0", offset)
        end = self._map.find(b"\0", middle + 1)
        function = self._map[offset:middle].decode(errors="replace")
        return function, self._map[middle + 1 : end].decode(errors="replace")

    def modules(self) -> list[Module]:
        """The loaded objects that stacks have met."""
        found = []
        for at in self._rows(_MODULES, self._header.modules):
            row = layout.Module._make(layout.MODULE_STRUCT.unpack_from(self._map, at))
            if row.end:
                text = row.path.partition(b"\0")[0].decode(errors="surrogateescape")
                found.append(Module(row.bias, row.start, row.end, text))
        return found


def records(folder: Path, known: Collection[Path] = ()) -> Iterator[Record]:
    """The records in a folder but those `known`; one that is being made is skipped."""
    for path in sorted(folder.glob("*.locks")):
        if path not in known:
            try:
                yield Record(path)
            except (RecordError, OSError, ValueError):
                continue
