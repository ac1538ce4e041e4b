"""Who closed a connection that is in TIME_WAIT, which the kernel does not keep.

There are three ways to know it, in the order in which they are believed:

1. **tracepoint**: the kernel reported the close while the closing process ran (`tracepoint`).
2. **polling**: an earlier dump showed the connection while a process held it. A connection that
   opened and closed between two dumps was never seen.
3. **listener**: the local port is one on which a process listens, so that the connection was
   accepted by it or by one of its children. This names the server, not who of it closed.

What is still there is remembered, and what has left the dump is forgotten, so that memory is
bounded by the number of sockets.
"""

import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from vespiary.prove.timewait.diag import Sockets
from vespiary.prove.timewait.processes import Process
from vespiary.prove.timewait.states import LISTEN

__all__ = ["UNKNOWN", "Closers", "Key", "Known", "KnownBy", "Owner", "listeners"]

KnownBy = Literal["descriptor", "tracepoint", "polling", "listener", "unknown"]
"""How an owner is known: `descriptor` for a socket that a process holds now."""

Key = tuple[int, bytes]

UNKNOWN = 0
"""The number of the owner of what nobody is known to own."""

_OWNERS = 1000
"""So many owners are kept before it is worth to look for those that are not needed any more."""

_LOOKS = 3
"""After this number of samples, a close that no dump has shown left no TIME_WAIT."""


class Owner(NamedTuple):
    """A process, and how it is known to own a socket."""

    process: Process | None
    known_by: KnownBy


class Known(NamedTuple):
    """The owner of each socket of a dump, as a number, and what the numbers mean."""

    numbers: list[int]
    owners: list[Owner]


class Closers:
    """Remembers who held what, and who closed what, in one network namespace."""

    def __init__(self) -> None:
        self._owners: list[Owner] = [Owner(None, "unknown")]
        self._numbers: dict[Owner, int] = {self._owners[UNKNOWN]: UNKNOWN}
        self._closed: dict[Key, int] = {}
        self._recent: list[dict[Key, int]] = []
        self._owners_max = _OWNERS

    def note(self, closes: Iterable[tuple[Key, Process]]) -> None:
        """Note closes that the tracepoint reported, the oldest first."""
        number_of = self._number
        self._recent.append(
            {key: number_of(Owner(process, "tracepoint")) for key, process in closes}
        )
        del self._recent[:-_LOOKS]

    def know(self, sockets: Sockets, holders: Mapping[int, Process]) -> Known:
        """Find the owner of each socket, and remember for the next dump what this one shows."""
        for closes in self._recent:
            self._closed |= closes
        held = {
            inode: self._number(Owner(process, "descriptor")) for inode, process in holders.items()
        }
        closed = self._closed.get
        numbers = [
            held.get(inode, UNKNOWN) if inode else closed(key, UNKNOWN)
            for inode, key in zip(sockets.inodes, sockets.keys, strict=True)
        ]
        polled = {
            number: self._number(Owner(self._owners[number].process, "polling"))
            for number in set(held.values())
        }
        self._closed = {
            key: polled.get(number, number)
            for key, number in zip(sockets.keys, numbers, strict=True)
            if number
        }
        self._recent = [
            {key: number for key, number in closes.items() if self._closed.get(key) != number}
            for closes in self._recent
        ]
        known = Known(numbers, self._owners)
        if len(self._owners) > self._owners_max:
            self._shrink()
        return known

    def _number(self, owner: Owner) -> int:
        number = self._numbers.get(owner)
        if number is None:
            number = self._numbers[owner] = len(self._owners)
            self._owners.append(owner)
        return number

    def _shrink(self) -> None:
        """Forget owners that nothing refers to any more."""
        used = {UNKNOWN, *self._closed.values()}
        for closes in self._recent:
            used |= set(closes.values())
        keep = sorted(used)
        again = {old: new for new, old in enumerate(keep)}
        self._owners = [self._owners[number] for number in keep]
        self._numbers = {owner: number for number, owner in enumerate(self._owners)}
        self._closed = {key: again[number] for key, number in self._closed.items()}
        self._recent = [
            {key: again[number] for key, number in closes.items()} for closes in self._recent
        ]


def listeners(
    sockets: Sockets, numbers: Sequence[int], owners: Sequence[Owner]
) -> dict[int, Process]:
    """Who listens on which local port."""
    found: dict[int, Process] = {}
    rows = zip(sockets.states, sockets.ports, numbers, strict=True)
    for state, port, number in rows:
        process = owners[number].process
        if state == LISTEN and process is not None:
            found.setdefault(socket.ntohs(port), process)
    return found
