"""What the kernel reports about processes and their memory (proc(5)).

Three kinds are distinguished everywhere:

* `private`: anonymous memory, such as heaps and stacks. A page that several processes share since a
  fork counts once: each process has its share of it (PSS).
* `shared`: shared memory and files in memory (shmem, tmpfs), also by shares.
* `cache`: pages of files. The kernel frees them when memory is short, so they count neither for the
  limit nor for growth.

`smaps_rollup` contains the shares. Reading it walks through the page tables, which takes about a
millisecond per 100 MiB. `status` contains sums in which pages that processes share count fully for
each of them. It takes 20 microseconds, and is exact if there is only one process.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

__all__ = ["Memory", "Process", "Tree", "describe", "exact", "exact_all", "together", "unshared"]


class Memory(NamedTuple):
    """Bytes, by kind."""

    private: int = 0
    shared: int = 0
    cache: int = 0

    @property
    def used(self) -> int:
        """What the kernel cannot take back."""
        return self.private + self.shared


def together(memories: Iterable[Memory]) -> Memory:
    """The sum, by kind."""
    columns = [sum(column) for column in zip(*memories, strict=True)]
    return Memory(*columns)


def unshared(pid: int) -> Memory | None:
    """A process's memory with common pages counted fully; None when it has ended."""
    fields = _kilobytes(f"/proc/{pid}/status", (b"Rss", b"VmSwap"))
    if not fields:  # It has ended, or has no memory any more.
        return None
    private = fields.get(b"RssAnon", 0) + fields.get(b"VmSwap", 0)
    return Memory(private, fields.get(b"RssShmem", 0), fields.get(b"RssFile", 0))


def exact(pid: int) -> Memory | None:
    """A process's memory by shares; None when it has ended.

    Of a process that may not be looked at, common pages are counted fully.
    """
    try:
        fields = _kilobytes(f"/proc/{pid}/smaps_rollup", (b"Pss_", b"SwapPss"))
    except PermissionError:
        return unshared(pid)
    if not fields:  # It has ended, or has no memory any more.
        return None
    private = fields.get(b"Pss_Anon", 0) + fields.get(b"SwapPss", 0)
    return Memory(private, fields.get(b"Pss_Shmem", 0), fields.get(b"Pss_File", 0))


def exact_all(pids: Iterable[int]) -> dict[int, Memory]:
    """The memory of those processes that have not ended."""
    found = {pid: exact(pid) for pid in pids}
    return {pid: memory for pid, memory in found.items() if memory is not None}


def _kilobytes(path: str, prefixes: tuple[bytes, ...]) -> dict[bytes, int] | None:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - some thousand times per second.
            lines = file.read().splitlines()
    except PermissionError:
        raise
    except OSError:
        return None
    fields = {}
    for line in lines:
        if line.startswith(prefixes):
            name, _, rest = line.partition(b":")
            fields[name] = int(rest.split()[0]) << 10
    return fields


@dataclass(frozen=True, slots=True)
class Process:
    """A process's name.

    Attributes:
        name: Of its program, as the kernel has it.
        command: Its words.
    """

    name: str
    command: str


def describe(pid: int) -> Process | None:
    """A process's name and command; None when it has ended."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return None
    command = " ".join(word.decode(errors="replace") for word in words)
    return Process(name, command[:_COMMAND_MAX] or f"[{name}]")


_COMMAND_MAX = 200


class Tree:
    """All processes below a root that adopts orphans.

    A process that was seen once belongs to the tree for as long as it lives, regardless of its
    parent then. A new one belongs to it if its parent does: that is the root for an orphan whose
    parent came and went unseen.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._ours: set[int] = set()
        self._others: set[int] = {root}

    def look(self) -> set[int]:
        """The processes that there are now, without the root."""
        there = {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208
        self._ours &= there
        self._others &= there
        unknown = {pid: _parent(pid) for pid in there - self._ours - self._others}
        is_new = True
        while is_new:
            ours = self._ours | {self._root}
            new = {pid for pid, parent in unknown.items() if parent in ours}
            is_new = bool(new)
            self._ours |= new
            for pid in new:
                del unknown[pid]
        self._others |= unknown.keys()
        return set(self._ours)


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0
