"""What operators have changed while the server runs, for all of its processes.

A worker that is suspended may be killed, and the one that replaces it must be suspended too. So
changes are written to memory that is mapped before the first fork (memfd_create(2)), and a new
worker reads them before it accepts connections. A lock of fcntl(2) lets one process change them at
a time; the kernel releases it if that process is killed.

A reload forgets all changes: with workers, it starts processes with a memory of their own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import Literal

import msgspec

__all__ = ["Changed", "Changes", "Held"]

Held = Literal["suspended", "drained"]

_BYTES_MAX = 1 << 20


class Changed(msgspec.Struct):
    """All changes.

    Attributes:
        held: Endpoints that accept no connections, by name.
        bounds: Limits and deadlines as texts, by endpoint and name.
        levels: Levels of loggers by the name of the logger; the root has an empty name.
    """

    held: dict[str, Held] = {}
    bounds: dict[str, dict[str, str]] = {}
    levels: dict[str, str] = {}


class Changes:
    """The memory with all changes."""

    def __init__(self) -> None:
        self._file = os.memfd_create("vespiary-changes", os.MFD_CLOEXEC)

    def read(self) -> Changed:
        """Return what was changed until now."""
        data = os.pread(self._file, _BYTES_MAX, 0)
        return msgspec.json.decode(data, type=Changed) if data else Changed()

    @contextlib.contextmanager
    def change(self) -> Iterator[Changed]:
        """Write what the block changes; no other process changes anything meanwhile."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            changed = self.read()
            yield changed
            data = msgspec.json.encode(changed)
            # Spaces are valid at the end, so the text is complete at every moment.
            length = os.fstat(self._file).st_size
            os.pwrite(self._file, data.ljust(length), 0)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def forget(self) -> Changed:
        """Forget all changes, and return them."""
        with self.change() as changed:
            before = Changed(changed.held, changed.bounds, changed.levels)
            changed.held, changed.bounds, changed.levels = {}, {}, {}
        return before

    def __del__(self) -> None:
        os.close(self._file)
