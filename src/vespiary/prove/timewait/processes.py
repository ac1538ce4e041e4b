"""Which process holds a socket: the inodes behind `/proc/PID/fd`.

Only inodes that the last dump has, and that are not known yet, are looked for, first in the
processes that held sockets before; as soon as all are found, the search ends. So a busy server
costs a look into its own folder, and not one into every process's. An inode that a whole search has
not found (the kernel's own sockets, another user's) is looked for again only now and then.

Where several processes hold a socket, the one with the lowest number is named: of a server that
forks, the parent.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Holders", "Process", "name_of", "pids"]

_PREFIX = "socket:["
_AGAIN = 20
"""After this number of samples, a whole search for what was not found is repeated."""


class Process(NamedTuple):
    """A process: its number and its name; the number is 0 when it has ended."""

    pid: int
    name: str


def name_of(pid: int) -> str | None:
    """The name of a process, at most 15 bytes; None if it has ended."""
    try:
        raw = Path(f"/proc/{pid}/comm").read_bytes()
    except OSError:
        return None
    return raw.decode(errors="replace").rstrip("\n")


class Holders:
    """Who holds which socket, remembered from look to look."""

    def __init__(self) -> None:
        self.unreadable = 0
        """Processes of others, whose descriptors could not be read in the last search."""
        self._found: dict[int, Process] = {}
        self._hidden: set[int] = set()
        self._looks = 0

    def find(self, inodes: set[int]) -> dict[int, Process]:
        """The holder of each inode, where one is found; what else was known is forgotten."""
        self._found = {inode: self._found[inode] for inode in self._found.keys() & inodes}
        self._hidden &= inodes
        self._looks += 1
        if self._looks % _AGAIN == 0:
            self._hidden.clear()
        missing = inodes - self._found.keys() - self._hidden
        if missing:
            self._search(missing)
            self._hidden |= missing
        return self._found

    def _search(self, missing: set[int]) -> None:
        """Find as many as possible, and remove them from `missing`."""
        self.unreadable = 0
        known = sorted({process.pid for process in self._found.values()})
        for pid in (*known, *_others(set(known))):
            names = _sockets_of(pid)
            if names is None:
                self.unreadable += 1
                continue
            held = missing.intersection(names)
            if held:
                process = Process(pid, name_of(pid) or "?")
                for inode in held:
                    self._found[inode] = process
                missing -= held
                if not missing:
                    return


def _others(known: set[int]) -> Iterator[int]:
    return (pid for pid in pids() if pid not in known)


def pids() -> list[int]:
    """The numbers of all processes, the lowest first."""
    names = os.listdir("/proc")  # noqa: PTH208 - Names only.
    return sorted(int(name) for name in names if name.isdigit())


def _sockets_of(pid: int) -> list[int] | None:
    """The inodes of all sockets of a process; none if it has ended, None if it may not be read."""
    folder = f"/proc/{pid}/fd"
    inodes = []
    try:
        for name in os.listdir(folder):  # noqa: PTH208 - Thousands.
            try:
                target = os.readlink(f"{folder}/{name}")  # noqa: PTH115 - The same.
            except FileNotFoundError:
                continue
            if target.startswith(_PREFIX):
                inodes.append(int(target[len(_PREFIX) : -1]))
    except PermissionError:
        return None
    except (FileNotFoundError, ProcessLookupError):
        pass
    return inodes
