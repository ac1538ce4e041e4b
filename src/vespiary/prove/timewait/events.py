"""Closes, read from what a ring buffer held: samples of the tracepoint, and names of processes.

Bytes that are not what they should be are skipped: a cut record, a sample of another protocol.
"""

import re
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

from vespiary.prove.timewait.closers import Key
from vespiary.prove.timewait.names import Names
from vespiary.prove.timewait.processes import Process
from vespiary.prove.timewait.ring import COMM, EXIT, FORK, LOST, SAMPLE, Record, records

__all__ = ["Close", "Events", "Layout", "Unavailable"]

_AF_INET, _AF_INET6 = 2, 10
_SAMPLE = struct.Struct("=IIQI")
"""Process, thread, time, bytes of the raw part behind it."""
_PIDS = struct.Struct("=II")
_FORK = struct.Struct("=IIII")
_TIME = struct.Struct("=Q")
_LOST = struct.Struct("=QQ")


class Unavailable(Exception):
    """The tracepoint cannot be read here; the text says why."""


class Close(NamedTuple):
    """A connection that a process closed before its peer did."""

    family: int
    key: Key
    process: Process
    namespace: int | None
    """The inode of the network namespace; None if it is not known."""


@dataclass(frozen=True)
class Layout:
    """Where the fields lie in the raw part of a sample, and the tracepoint's number."""

    identifier: int
    offsets: dict[str, int]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the `format` file of the tracepoint.

        Raises:
            Unavailable: It lacks what is needed.
        """
        number = re.search(r"^ID: (\d+)$", text, re.M)
        fields = re.findall(r"field:[^;]*?(\w+)(?:\[\d+\])?;\s*offset:(\d+);", text)
        offsets = {name: int(offset) for name, offset in fields}
        needed = {"sport", "dport", "family", "saddr", "daddr", "saddr_v6", "daddr_v6"}
        if number is None or needed - offsets.keys():
            raise Unavailable("the tracepoint sock:inet_sock_set_state has an unknown format")
        return cls(int(number[1]), offsets)

    def close(self, raw: bytes) -> tuple[int, Key] | None:
        """The family and the key of the socket in a sample; None if it is cut off or not TCP/IP."""
        at = self.offsets
        if len(raw) < max(at["saddr_v6"], at["daddr_v6"]) + 16:
            return None
        family, sport, dport = (
            int.from_bytes(raw[at[name] : at[name] + 2], sys.byteorder)
            for name in ("family", "sport", "dport")
        )
        if family == _AF_INET:
            source = raw[at["saddr"] : at["saddr"] + 4] + bytes(12)
            destination = raw[at["daddr"] : at["daddr"] + 4] + bytes(12)
        elif family == _AF_INET6:
            source = raw[at["saddr_v6"] : at["saddr_v6"] + 16]
            destination = raw[at["daddr_v6"] : at["daddr_v6"] + 16]
        else:
            return None
        port = int.from_bytes(sport.to_bytes(2), sys.byteorder)
        return family, (port, dport.to_bytes(2) + source + destination)


class Events:
    """Reads what the rings held, and remembers names of processes.

    Attributes:
        lost: Records that found no room in a ring.
    """

    def __init__(self, layout: Layout, names: Names) -> None:
        self.lost = 0
        self._layout = layout
        self._names = names

    def closes(self, taken: Iterable[bytes]) -> Iterator[Close]:
        """Read closes, in the order in which they happened.

        Args:
            taken: What was taken from each ring.
        """
        found = [record for data in taken for record in records(data)]
        # Each ring is in order, but they are of different processors.
        found.sort(key=_time_of)
        self._names.begin()
        for record in found:
            if record.kind == SAMPLE:
                yield from self._sample(record.body)
            elif record.kind == LOST and len(record.body) >= _LOST.size:
                self.lost += _LOST.unpack_from(record.body)[1]
            else:
                self._note(record)

    def _sample(self, body: bytes) -> Iterator[Close]:
        if len(body) < _SAMPLE.size:
            return
        pid, _, _, size = _SAMPLE.unpack_from(body)
        socket = self._layout.close(body[_SAMPLE.size : _SAMPLE.size + size])
        if socket is not None:
            name, namespace = self._names.of(pid)
            yield Close(*socket, Process(pid, name), namespace)

    def _note(self, record: Record) -> None:
        """Note what a record says about a process."""
        kind, body = record.kind, record.body
        if kind == COMM and len(body) > _PIDS.size:
            pid, thread = _PIDS.unpack_from(body)
            if pid == thread:
                name = body[_PIDS.size :].partition(b"\0")[0].decode(errors="replace")
                self._names.executed(pid, name)
        elif kind in (FORK, EXIT) and len(body) >= _FORK.size:
            pid, parent, thread, _ = _FORK.unpack_from(body)
            if kind == FORK and pid != parent:
                self._names.forked(pid, parent)
            elif kind == EXIT and pid == thread:
                self._names.ended(pid)


def _time_of(record: Record) -> int:
    """When a record was written: behind the thread's number in a sample, at the end of others."""
    body = record.body
    offset = _PIDS.size if record.kind == SAMPLE else len(body) - _TIME.size
    if offset < 0 or len(body) < offset + _TIME.size:
        return 0
    time: int = _TIME.unpack_from(body, offset)[0]
    return time
