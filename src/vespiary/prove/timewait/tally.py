"""Sockets counted, so that everything else works on what differs and not on each of them.

One `Counter` over all columns does it in C. It distinguishes what a report may ask for: the family,
the state, the timer, what the local port is (`ports`), the group, the owner, and for TIME_WAIT the
half second in which it ends. The group of a socket on a served port is that port and the remote
address; any other's is the budget that its port comes from: source, destination and destination
port.
"""

import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vespiary.prove.timewait.diag import TIMER_TIME_WAIT, Sockets
from vespiary.prove.timewait.forecast import SLOTS_PER_SECOND
from vespiary.prove.timewait.ports import SERVED

__all__ = ["NOT_WAITING", "Budget", "Cell", "Service", "address", "cells", "served_ports"]

NOT_WAITING = -1
"""In place of a half second: the socket has no end that is known."""

_SLOT_MILLISECONDS = 1000 // SLOTS_PER_SECOND
_MAPPED = bytes(10) + b"\xff\xff"
"""In front of an IPv4 address in an IPv6 socket (RFC 4291 section 2.5.5.2)."""


class Budget(NamedTuple):
    """A source, a destination and its port: what has its own ports to take from."""

    source: str
    destination: str
    port: int


class Service(NamedTuple):
    """A local port that is served, and who is at the other end."""

    port: int
    remote: str


class Cell(NamedTuple):
    """How many sockets are alike."""

    family: int
    state: int
    timer: int
    lane: int
    group: Budget | Service
    owner: int
    slot: int
    sockets: int


def served_ports(sockets: Sockets, state: int) -> set[int]:
    """The local ports of the sockets in a state."""
    pairs = zip(sockets.states, sockets.ports, strict=True)
    return {socket.ntohs(port) for it, port in pairs if it == state}


def cells(sockets: Sockets, lanes: bytes, owners: Sequence[int]) -> Iterator[Cell]:
    """Count the sockets.

    Args:
        sockets: A dump.
        lanes: What each local port is, as `PortRange.lanes` has it.
        owners: A number for each socket.
    """
    of_port = [lanes[port] for port in sockets.ports]
    keys = zip(of_port, sockets.ports, sockets.remotes, strict=True)
    groups = [(port, remote[18:]) if lane == SERVED else (0, remote) for lane, port, remote in keys]
    waits = zip(sockets.timers, sockets.milliseconds, strict=True)
    slots = [
        left // _SLOT_MILLISECONDS if timer == TIMER_TIME_WAIT else NOT_WAITING
        for timer, left in waits
    ]
    columns = (sockets.families, sockets.states, sockets.timers, of_port, groups, owners, slots)
    named: dict[tuple[int, tuple[int, bytes]], Budget | Service] = {}
    for row, count in Counter(zip(*columns, strict=True)).items():
        family, state, timer, lane, group, owner, slot = row
        name = named.get((family, group))
        if name is None:
            name = named[family, group] = _named(family, *group)
        yield Cell(family, state, timer, lane, name, owner, slot, count)


def _named(family: int, port: int, rest: bytes) -> Budget | Service:
    if port:
        return Service(socket.ntohs(port), address(family, rest))
    source, destination = address(family, rest[2:18]), address(family, rest[18:])
    return Budget(source, destination, int.from_bytes(rest[:2]))


def address(family: int, raw: bytes) -> str:
    """An address as text; IPv4 in IPv6 as IPv4, because both take from the same ports."""
    if family == socket.AF_INET:
        return socket.inet_ntop(family, raw[:4])
    if raw.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, raw[12:])
    return socket.inet_ntop(socket.AF_INET6, raw)
