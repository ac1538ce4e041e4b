"""Who closes connections, from the kernel: the tracepoint `sock:inet_sock_set_state`.

The end that closes first goes from ESTABLISHED to FIN_WAIT1 inside `close`, `shutdown` or the end
of its process, so the tracepoint fires while the closing process runs, and its sample has that
process's number. Only this transition is asked for (a filter in the kernel), in a ring buffer for
each processor. Names of processes come in the same rings: a program that runs for some
milliseconds has ended before anybody could ask `/proc`.

It takes root (or CAP_PERFMON, and tracefs readable), because samples of all processes are read.
The number of the tracepoint stands in tracefs. Where that is not mounted it is mounted for a moment
in a mount namespace of its own, so that nothing changes on the machine.

The tracepoint does not say in which network namespace the socket is. That of the process is taken;
it is not known of a process that has ended.
"""

import fcntl
import mmap
import os
import re
import select
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

from vespiary.prove.timewait.closers import Key
from vespiary.prove.timewait.libc import perf_event_open
from vespiary.prove.timewait.names import Names
from vespiary.prove.timewait.processes import Process
from vespiary.prove.timewait.ring import COMM, EXIT, FORK, LOST, SAMPLE, Record, Ring, records
from vespiary.prove.timewait.states import ESTABLISHED, FIN_WAIT1

__all__ = ["Close", "Layout", "Tracepoint", "Unavailable"]

_FOLDERS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
_EVENT = "events/sock/inet_sock_set_state"
_MOUNT = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    f"mount -t tracefs tracefs {_FOLDERS[0]} && cat {_FOLDERS[0]}/{_EVENT}/format",
)
_MOUNT_SECONDS = 10

_RING_BYTES: Final = 1 << 20
"""For each processor: about 8,000 closes; it is emptied when half full, and at each look."""

_TYPE_TRACEPOINT = 2
_SAMPLE_TID, _SAMPLE_TIME, _SAMPLE_RAW = 1 << 1, 1 << 2, 1 << 10
_FLAG_DISABLED, _FLAG_COMM, _FLAG_TASK = 1 << 0, 1 << 9, 1 << 13
_FLAG_WATERMARK, _FLAG_SAMPLE_ID_ALL = 1 << 14, 1 << 18
_IOC_ENABLE = 0x2400
_IOC_SET_FILTER = 0x40082406
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
            raise Unavailable("the kernel's tracepoint sock:inet_sock_set_state has another form")
        return cls(int(number[1]), offsets)

    def close(self, raw: bytes) -> tuple[int, Key] | None:
        """The family and the key of the socket in a sample; None if it is cut off or not TCP/IP."""
        at = self.offsets
        if len(raw) < max(at["saddr_v6"], at["daddr_v6"]) + 16:
            return None
        family, sport, dport = (
            int.from_bytes(raw[at[name] : at[name] + 2], "little" if _LITTLE else "big")
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
        port = int.from_bytes(sport.to_bytes(2), "little" if _LITTLE else "big")
        return family, (port, dport.to_bytes(2) + source + destination)


_LITTLE = struct.pack("=H", 1) == b"\x01\x00"


def _format_text() -> str:
    """The `format` file of the tracepoint."""
    for folder in _FOLDERS:
        try:
            return (folder / _EVENT / "format").read_text()
        except OSError:
            continue
    if os.geteuid() != 0:
        raise Unavailable("only root may read the kernel's tracepoints")
    try:
        done = subprocess.run(
            _MOUNT, capture_output=True, text=True, check=True, timeout=_MOUNT_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        raise Unavailable("tracefs is not mounted, and cannot be mounted here") from None
    return done.stdout


def _attributes(identifier: int) -> bytes:
    """`struct perf_event_attr`, in its first size."""
    flags = _FLAG_DISABLED | _FLAG_COMM | _FLAG_TASK | _FLAG_WATERMARK | _FLAG_SAMPLE_ID_ALL
    sampled = _SAMPLE_TID | _SAMPLE_TIME | _SAMPLE_RAW
    layout = struct.Struct("=IIQQQQQIIQ")
    return layout.pack(
        _TYPE_TRACEPOINT,
        layout.size,
        identifier,
        1,
        sampled,
        0,
        flags,
        _RING_BYTES // 2,
        0,
        0,
    )


def _processors() -> list[int]:
    found: list[int] = []
    for part in Path("/sys/devices/system/cpu/online").read_text().strip().split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


class Tracepoint:
    """Reads closes from the moment on at which it is made; close it at the end.

    Raises:
        Unavailable: The kernel does not allow it, or has no such tracepoint.
    """

    def __init__(self) -> None:
        self.lost = 0
        """Records that found no room in a ring."""
        self._layout = Layout.parse(_format_text())
        self._names = Names()
        self._mappings: list[tuple[int, mmap.mmap]] = []
        self._taken: list[bytes] = []
        self._poll = select.poll()
        try:
            for processor in _processors():
                self._open(processor)
        except OSError as error:
            self.close()
            raise Unavailable(
                f"the kernel does not allow to read its tracepoints: {error.strerror}"
            ) from None
        self._rings = [Ring(mapping, _RING_BYTES) for _, mapping in self._mappings]

    def _open(self, processor: int) -> None:
        descriptor = perf_event_open(_attributes(self._layout.identifier), processor)
        try:
            mapping = mmap.mmap(descriptor, mmap.PAGESIZE + _RING_BYTES)
        except OSError:
            os.close(descriptor)
            raise
        self._mappings.append((descriptor, mapping))
        wanted = f"oldstate == {ESTABLISHED} && newstate == {FIN_WAIT1}\0"
        fcntl.ioctl(descriptor, _IOC_SET_FILTER, wanted.encode())
        fcntl.ioctl(descriptor, _IOC_ENABLE, 0)
        self._poll.register(descriptor, select.POLLIN)

    def close(self) -> None:
        """Stop."""
        for descriptor, mapping in self._mappings:
            self._poll.unregister(descriptor)
            mapping.close()
            os.close(descriptor)
        self._mappings = []

    def wait(self, seconds: float) -> None:
        """Wait, at most this long, until a ring is half full, and empty all of them."""
        self._poll.poll(max(seconds, 0) * 1000)
        self._taken += [data for ring in self._rings if (data := ring.take())]

    def take(self) -> list[Close]:
        """The closes since the last call, in their order."""
        self._taken += [data for ring in self._rings if (data := ring.take())]
        found = [record for data in self._taken for record in records(data)]
        self._taken = []
        # Each ring is in order, but they are of different processors.
        found.sort(key=_time_of)
        return list(self._closes(found))

    def _closes(self, found: list[Record]) -> Iterator[Close]:
        self._names.begin()
        for kind, body in ((record.kind, record.body) for record in found):
            if kind == SAMPLE and len(body) >= _SAMPLE.size:
                pid, _, _, size = _SAMPLE.unpack_from(body)
                socket = self._layout.close(body[_SAMPLE.size : _SAMPLE.size + size])
                if socket is not None:
                    name, namespace = self._names.of(pid)
                    yield Close(*socket, Process(pid, name), namespace)
            elif kind == COMM and len(body) > _PIDS.size:
                pid, thread = _PIDS.unpack_from(body)
                if pid == thread:
                    name = body[_PIDS.size :].partition(b"\0")[0].decode(errors="replace")
                    self._names.executed(pid, name)
            elif kind == FORK and len(body) >= _FORK.size:
                pid, parent, _, _ = _FORK.unpack_from(body)
                if pid != parent:
                    self._names.forked(pid, parent)
            elif kind == EXIT and len(body) >= _FORK.size:
                pid, _, thread, _ = _FORK.unpack_from(body)
                if pid == thread:
                    self._names.ended(pid)
            elif kind == LOST and len(body) >= _LOST.size:
                self.lost += _LOST.unpack_from(body)[1]


def _time_of(record: Record) -> int:
    """When a record was written: behind the thread's number in a sample, at the end of others."""
    body = record.body
    offset = _PIDS.size if record.kind == SAMPLE else len(body) - _TIME.size
    if offset < 0 or len(body) < offset + _TIME.size:
        return 0
    time: int = _TIME.unpack_from(body, offset)[0]
    return time
