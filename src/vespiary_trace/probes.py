"""Marks that count in a shared file, and can be disabled there: those of a traced run.

The file is shared by all processes of a traced run; its layout is defined in
`crates/trace/src/table.rs`, whose probes write into the same file. Slots are taken under `flock` on
a description opened for that purpose alone (a mapping keeps the one that it was made from open, and
would keep its lock). The counters here are not atomic: two processes that count at once may count
as one, but never as none.
"""

import dis
import fcntl
import itertools
import mmap
import os
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import IO, Any, Final, TypeVar, cast

from vespiary_trace import Disabled, checked
from vespiary_trace.functions import probed

__all__ = ["ANOTHER", "CLAIM", "DISABLED", "FORCED", "MARK", "REPLACED"]
__all__ += ["Probes", "Slot", "Table", "TableError"]

MARK: Final = 1
"""The kind of a slot that stands for a marked condition; its site is `file:line:column`."""

CLAIM: Final = 2
"""The kind of a slot that stands for a claim; its site is the name of the test."""

DISABLED: Final = 1
"""What a slot has while its mark is disabled."""

REPLACED: Final = 2
"""The same, and a function gives a wrong result that is not None."""

ANOTHER: Final = 3
"""The same, and a function gives a wrong result of its own type."""

FORCED: Final = 4
"""What a slot has while its condition is taken for true, whatever it is."""

_CAPACITY: Final = 4096
_TEXT_BYTES_MAX: Final = 480
_MAGIC: Final = b"VSPTRACE"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("=8s4I40x")
_SLOT: Final = struct.Struct(f"=QQIIHH4x{_TEXT_BYTES_MAX}s")
_TEXT: Final = struct.Struct(f"=IHH4x{_TEXT_BYTES_MAX}s")
_USED_OFFSET: Final = 20
_KIND_OFFSET: Final = 20
_Function = TypeVar("_Function", bound=Callable[..., Any])


class TableError(RuntimeError):
    """A file cannot serve as the table of a traced run."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One mark or claim, as all processes of the run see it."""

    table: "Table"
    offset: int
    kind: int
    ids: tuple[str, ...]
    site: str

    @property
    def reached(self) -> int:
        """How often it was executed."""
        return self.table.number("Q", self.offset)

    @property
    def acted(self) -> int:
        """How often its condition was true, whether it was disabled or not."""
        return self.table.number("Q", self.offset + 8)

    @property
    def disabled(self) -> bool:
        """Whether the mark is false whatever its condition."""
        return self._state not in (0, FORCED)

    @property
    def is_replaced(self) -> bool:
        """Whether it is disabled, and a function gives a wrong result that is not None."""
        return self._state == REPLACED

    @property
    def is_another(self) -> bool:
        """Whether it is disabled, and a function gives a wrong result of its own type."""
        return self._state == ANOTHER

    @property
    def is_forced(self) -> bool:
        """Whether the mark is true whatever its condition."""
        return self._state == FORCED

    @property
    def _state(self) -> int:
        return self.table.number("I", self.offset + 16)

    def disable(self, how: int = DISABLED) -> None:
        """Disable the mark in every process (or force it), or enable it again: `False`."""
        self.table.set_number("I", self.offset + 16, int(how))

    def count(self, acted: bool) -> None:
        """Count that the mark was reached, and whether its condition was true."""
        self.table.set_number("Q", self.offset, self.reached + 1)
        if acted:
            self.table.set_number("Q", self.offset + 8, self.acted + 1)

    def clear(self) -> None:
        """Set both counters to nothing."""
        self.table.set_number("Q", self.offset, 0)
        self.table.set_number("Q", self.offset + 8, 0)


class Table:
    """The shared file, mapped; it is made, with `capacity` slots, where there is none.

    Raises:
        TableError: it is something else, or cannot be opened. Nothing in it was changed.
    """

    def __init__(self, path: str | os.PathLike[str], capacity: int = _CAPACITY) -> None:
        self.path = Path(path)
        with self._locked() as locked, self._opened() as file:
            if os.fstat(locked.fileno()).st_size == 0:
                self._allocate(file, _HEADER.size + capacity * _SLOT.size)
                file.write(_HEADER.pack(_MAGIC, _VERSION, _SLOT.size, capacity, 0))
                file.flush()
            file.seek(0)
            start = file.read(_HEADER.size)
            size = os.fstat(file.fileno()).st_size
            self._capacity = self._capacity_of(start, size)
            self._memory = mmap.mmap(file.fileno(), size)
        self._known: list[Slot] = []

    def _allocate(self, file: IO[bytes], size: int) -> None:
        """Take all of its room at once: what is mapped and has none would end the process."""
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise TableError(f"{self.path}: {error.strerror}") from error

    def _capacity_of(self, start: bytes, size: int) -> int:
        if len(start) == _HEADER.size:
            magic, version, slot_size, capacity, _ = _HEADER.unpack(start)
            ours = (magic, version, slot_size) == (_MAGIC, _VERSION, _SLOT.size)
            if ours and size == _HEADER.size + capacity * _SLOT.size:
                return int(capacity)
        raise TableError(
            f"{self.path} is not a table of traced marks, version {_VERSION}: name a new file"
        )

    def _opened(self) -> IO[bytes]:
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise TableError(f"{self.path}: {error.strerror}") from error
        return os.fdopen(descriptor, "r+b")

    @contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        with self._opened() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file

    def number(self, form: str, offset: int) -> int:
        """Read a number of the file, in one piece: in the machine's own size and alignment."""
        (value,) = struct.unpack_from(form, self._memory, offset)
        return int(value)

    def set_number(self, form: str, offset: int, value: int) -> None:
        """Write a number of the file."""
        struct.pack_into(form, self._memory, offset, value)

    def slots(self) -> list[Slot]:
        """All slots that are taken, no matter who took them."""
        used = min(self.number("I", _USED_OFFSET), self._capacity)
        for index in range(len(self._known), used):
            offset = _HEADER.size + index * _SLOT.size
            _, _, _, kind, ids_bytes, site_bytes, text = _SLOT.unpack_from(self._memory, offset)
            ids = text[:ids_bytes].decode().split()
            site = text[ids_bytes : ids_bytes + site_bytes].decode(errors="replace")
            self._known.append(Slot(self, offset, kind, tuple(ids), site))
        return self._known[:used]

    def claim(self, kind: int, ids: tuple[str, ...], site: str) -> Slot:
        """Give the slot of this mark or claim, in whichever process it was first seen.

        Raises:
            TableError: no slot is left, or the names are too long for one.
        """
        ids_bytes, site_bytes = " ".join(ids).encode(), site.encode()
        if len(ids_bytes) + len(site_bytes) > _TEXT_BYTES_MAX:
            raise TableError(
                f"the mark at {site} has more than {_TEXT_BYTES_MAX} bytes of identifiers and path"
            )
        with self._locked():
            slots = self.slots()
            for slot in slots:
                if (slot.kind, slot.ids, slot.site) == (kind, ids, site):
                    return slot
            if len(slots) == self._capacity:
                raise TableError(
                    f"{self.path} is full: it has {self._capacity} slots; make it with more"
                )
            offset = _HEADER.size + len(slots) * _SLOT.size
            lengths = len(ids_bytes), len(site_bytes)
            _TEXT.pack_into(
                self._memory, offset + _KIND_OFFSET, kind, *lengths, ids_bytes + site_bytes
            )
            self.set_number("I", _USED_OFFSET, len(slots) + 1)
            return self.slots()[len(slots)]


def _is_statement(code: CodeType, offset: int, marked: tuple[object, ...]) -> bool:
    """Whether a mark has no condition: its value is dropped, and all that it has are identifiers.

    What the last argument looks like does not tell: a condition may be any string, too.
    """
    if len(marked) == 1:
        return True
    after = (one.opname for one in dis.get_instructions(code) if one.offset > offset)
    return isinstance(marked[-1], str) and next(after, "") == "POP_TOP"


def _place(code: CodeType, offset: int, line: int) -> str:
    """Where a call stands: its line, and its column, as one line may have several marks."""
    line_here, _, column, _ = next(itertools.islice(code.co_positions(), offset // 2, None))
    return f"{line}:{column + 1}" if line_here == line and column is not None else str(line)


class Probes:
    """The marks of this process in the shared file, each found once."""

    def __init__(self, table: Table) -> None:
        self._table = table
        # The file's name is a part of the key: equal code of two files compares as equal.
        self._marks: dict[tuple[CodeType, str, int], tuple[Slot, bool]] = {}

    def requires(self, *marked: object) -> bool:
        """Give the condition, False while the mark is disabled, and True while it is forced.

        Raises:
            Disabled: the mark has no condition and is disabled.
        """
        frame = sys._getframe(1)
        place = frame.f_code, frame.f_code.co_filename, frame.f_lasti
        known = self._marks.get(place)
        if known is None:
            is_statement = _is_statement(frame.f_code, frame.f_lasti, marked)
            ids = cast("tuple[str, ...]", marked if is_statement else marked[:-1])
            known = self._marks[place] = self._slot(ids, frame), is_statement
        slot, is_statement = known
        condition = is_statement or bool(marked[-1])
        slot.count(condition)
        if is_statement and slot.disabled:
            raise Disabled(
                f"vespiary trace: the code that implements {' '.join(slot.ids)} at {slot.site}"
                " is disabled in this run"
            )
        return slot.is_forced or (condition and not slot.disabled)

    def implements(self, *ids: str, disabled: object = None) -> Callable[[_Function], _Function]:
        """Mark a function, which is not called while the mark is disabled.

        Raises:
            TypeError: It is not a function that `disabled` may replace.
        """
        slot = self._slot(ids, sys._getframe(1))

        def marked(function: _Function) -> _Function:
            return cast("_Function", probed(checked(function, disabled), slot, disabled))

        return marked

    def _slot(self, ids: tuple[str, ...], frame: FrameType) -> Slot:
        place = _place(frame.f_code, frame.f_lasti, frame.f_lineno)
        file = os.path.realpath(frame.f_code.co_filename)
        return self._table.claim(MARK, ids, f"{file}:{place}")
