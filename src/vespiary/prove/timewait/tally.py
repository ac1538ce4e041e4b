"""Sockets counted, so that everything else works on what differs and not on each of them.

What a report may ask for is distinguished: the family, the state, the timer, what the local port is
(`ports`), the group, the owner, and for TIME_WAIT the half second in which it ends. The group of a
socket on a served port is that port and the remote address; any other's is the budget that its port
comes from: source, destination and destination port.

The counting is done by `Counter` and `map`, in C. A server has as many groups as clients, so only
the largest groups are kept apart, and so with owners; all others are one group per port, and one
owner per name. Totals by state, by port and by name stay exact.
"""

import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from vespiary.prove.timewait.closers import UNKNOWN, Owner
from vespiary.prove.timewait.diag import TIMER_TIME_WAIT, Sockets
from vespiary.prove.timewait.forecast import SLOTS_PER_SECOND
from vespiary.prove.timewait.ports import SERVED
from vespiary.prove.timewait.processes import Process

__all__ = [
    "OTHERS",
    "Budget",
    "Cell",
    "Service",
    "Tally",
    "address",
    "fold_owners",
    "host_port",
    "served_ports",
    "tally",
]

OTHERS = ""
"""Instead of an address: all that are not among the largest groups."""

_GROUPS_MAX = 500
_OWNERS_MAX = 200
_NOT_WAITING = -1
_SLOT_MILLISECONDS = 1000 // SLOTS_PER_SECOND
_MAPPED = bytes(10) + b"\xff\xff"
"""In front of an IPv4 address in an IPv6 socket (RFC 4291 section 2.5.5.2)."""

_Group = tuple[int, bytes]
"""A served port and the remote address, or 0 and what names a budget; in the kernel's order."""


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
    """How many sockets are alike, and how many of them end in which half second from now."""

    family: int
    state: int
    timer: int
    lane: int
    group: Budget | Service
    owner: int
    sockets: int
    slots: Mapping[int, int]


@dataclass
class Tally:
    """The counted sockets.

    Attributes:
        cells: What there is.
        omitted: How many groups are not kept apart.
    """

    cells: list[Cell] = field(default_factory=list)
    omitted: int = 0


def served_ports(sockets: Sockets, state: int) -> set[int]:
    """The local ports of the sockets in a state."""
    pairs = zip(sockets.states, sockets.ports, strict=True)
    return {socket.ntohs(port) for it, port in pairs if it == state}


def fold_owners(
    numbers: Sequence[int], owners: list[Owner]
) -> tuple[Sequence[int], dict[int, int]]:
    """Make one owner of those with few sockets and the same name, if there are many.

    Args:
        numbers: The owner of each socket.
        owners: What the numbers mean; owners are added.

    Returns:
        The new number of each socket's owner, and of how many processes each new one is made.
    """
    counts = Counter(numbers)
    if len(counts) <= _OWNERS_MAX:
        return numbers, {}
    kept = {UNKNOWN, *(number for number, _ in counts.most_common(_OWNERS_MAX))}
    new: dict[Owner, int] = {}
    processes: Counter[int] = Counter()
    renumbered = {number: number for number in kept}
    for number in counts.keys() - kept:
        process, known_by = owners[number]
        folded = Owner(Process(0, process.name if process else "?"), known_by)
        if folded not in new:
            new[folded] = len(owners)
            owners.append(folded)
        renumbered[number] = new[folded]
        processes[new[folded]] += 1
    return [renumbered[number] for number in numbers], dict(processes)


def tally(sockets: Sockets, lanes: bytes, owners: Sequence[int]) -> Tally:
    """Count the sockets.

    Args:
        sockets: A dump.
        lanes: What each local port is, as `PortRange.lanes` has it.
        owners: A number for each socket.
    """
    if not len(sockets):
        return Tally()
    of_port = itemgetter(*sockets.ports)(lanes) if len(sockets) > 1 else (lanes[sockets.ports[0]],)
    groups, omitted = _grouped(of_port, sockets)
    kinds: dict[tuple[int, int, int, int, _Group, int], int] = {}
    columns = (sockets.families, sockets.states, sockets.timers, of_port, groups, owners)
    of_kind = [kinds.setdefault(kind, len(kinds)) for kind in zip(*columns, strict=True)]
    waits = zip(sockets.timers, sockets.milliseconds, strict=True)
    slots = [
        left // _SLOT_MILLISECONDS if timer == TIMER_TIME_WAIT else _NOT_WAITING
        for timer, left in waits
    ]
    slots_of: list[dict[int, int]] = [{} for _ in kinds]
    for (kind, slot), count in Counter(zip(of_kind, slots, strict=True)).items():
        slots_of[kind][slot] = count
    named: dict[tuple[int, _Group], Budget | Service] = {}
    cells = []
    for (family, state, timer, lane, group, owner), its in zip(kinds, slots_of, strict=True):
        name = named.get((family, group))
        if name is None:
            name = named[family, group] = _named(family, *group)
        count = sum(its.values())
        its.pop(_NOT_WAITING, None)
        cells.append(Cell(family, state, timer, lane, name, owner, count, its))
    return Tally(cells, omitted)


def _grouped(of_port: Sequence[int], sockets: Sockets) -> tuple[list[_Group], int]:
    """The group of each socket, and how many groups have become one."""
    groups: list[_Group] = [
        (port, remote[18:]) if lane == SERVED else (0, remote)
        for lane, port, remote in zip(of_port, sockets.ports, sockets.remotes, strict=True)
    ]
    counts = Counter(groups)
    if len(counts) <= _GROUPS_MAX:
        return groups, 0
    kept = {group: group for group, _ in counts.most_common(_GROUPS_MAX)}
    find = kept.get
    return [find(group) or (group[0], b"") for group in groups], len(counts) - _GROUPS_MAX


def _named(family: int, port: int, rest: bytes) -> Budget | Service:
    if port:
        return Service(socket.ntohs(port), address(family, rest) if rest else OTHERS)
    if not rest:
        return Budget(OTHERS, OTHERS, 0)
    return Budget(address(family, rest[2:18]), address(family, rest[18:]), int.from_bytes(rest[:2]))


def address(family: int, raw: bytes) -> str:
    """An address as text; IPv4 in IPv6 as IPv4, because both take from the same ports."""
    if family == socket.AF_INET:
        return socket.inet_ntop(family, raw[:4])
    if raw.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, raw[12:])
    return socket.inet_ntop(socket.AF_INET6, raw)


def host_port(host: str, port: int) -> str:
    """An address with its port, as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
