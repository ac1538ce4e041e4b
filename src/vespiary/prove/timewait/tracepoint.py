"""Who closes connections, from the kernel: the tracepoint `sock:inet_sock_set_state`.

The end that closes first goes from ESTABLISHED to FIN_WAIT1 inside `close`, `shutdown` or the end
of its process, so the tracepoint fires while the closing process runs, and its sample has that
process's number. Only this transition is asked for (a filter in the kernel), in a ring buffer for
each processor. Names of processes come in the same rings: a program that runs for some
milliseconds has ended before anybody could ask `/proc`.

It needs root (or CAP_PERFMON, and tracefs readable), because samples of all processes are read. The
number of the tracepoint is in tracefs. Where that is not mounted it is mounted for a moment in a
mount namespace of its own, so that nothing changes on the machine.

The tracepoint does not say in which network namespace the socket is. That of the process is taken;
it is not known of a process that has ended.
"""

import fcntl
import mmap
import os
import select
import struct
import subprocess
from pathlib import Path
from typing import Final

from vespiary.prove.timewait.events import Close, Events, Layout, Unavailable
from vespiary.prove.timewait.libc import perf_event_open
from vespiary.prove.timewait.names import Names
from vespiary.prove.timewait.ports import parse_numbers
from vespiary.prove.timewait.ring import Ring
from vespiary.prove.timewait.states import ESTABLISHED, FIN_WAIT1

__all__ = ["Tracepoint"]

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

_ONLINE = Path("/sys/devices/system/cpu/online")

_RINGS_BYTES: Final = 16 << 20
_RING_BYTES_MIN, _RING_BYTES_MAX = 256 << 10, 4 << 20
"""Of all rings, and of the one of a processor. A close takes 104 bytes, so that 4 MiB hold 40,000.
A ring is emptied when it is half full, and at each look."""

_TYPE_TRACEPOINT = 2
_SAMPLE_TID, _SAMPLE_TIME, _SAMPLE_RAW = 1 << 1, 1 << 2, 1 << 10
_FLAG_DISABLED, _FLAG_COMM, _FLAG_TASK = 1 << 0, 1 << 9, 1 << 13
_FLAG_WATERMARK, _FLAG_SAMPLE_ID_ALL = 1 << 14, 1 << 18
_IOC_ENABLE = 0x2400
_IOC_SET_FILTER = 0x40082406


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


def _attributes(identifier: int, size: int) -> bytes:
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
        size // 2,
        0,
        0,
    )


def _ring_bytes(processors: int) -> int:
    """The size of the ring of each processor, a power of two."""
    share = 1 << ((_RINGS_BYTES // processors).bit_length() - 1)
    return min(max(share, _RING_BYTES_MIN), _RING_BYTES_MAX)


class Tracepoint:
    """Reads closes from the moment on at which it is made; close it at the end.

    Raises:
        Unavailable: The kernel does not allow it, or has no such tracepoint.
    """

    def __init__(self) -> None:
        layout = Layout.parse(_format_text())
        self._events = Events(layout, Names())
        self._mappings: list[tuple[int, mmap.mmap]] = []
        self._taken: list[bytes] = []
        self._poll = select.poll()
        try:
            processors = sorted(parse_numbers(_ONLINE.read_text()))
            size = _ring_bytes(len(processors))
            for processor in processors:
                self._open(processor, layout.identifier, size)
        except OSError as error:
            self.close()
            raise Unavailable(
                f"the kernel does not allow reading its tracepoints: {error.strerror}"
            ) from None
        self._rings = [Ring(mapping, size) for _, mapping in self._mappings]

    @property
    def lost(self) -> int:
        """Records that found no room in a ring."""
        return self._events.lost

    def _open(self, processor: int, identifier: int, size: int) -> None:
        descriptor = perf_event_open(_attributes(identifier, size), processor)
        try:
            mapping = mmap.mmap(descriptor, mmap.PAGESIZE + size)
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
        self._empty()

    def take(self) -> list[Close]:
        """The closes since the last call, in their order."""
        self._empty()
        closes = list(self._events.closes(self._taken))
        self._taken = []
        return closes

    def _empty(self) -> None:
        self._taken += [data for ring in self._rings if (data := ring.take())]
