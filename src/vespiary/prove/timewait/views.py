"""The counted sockets of a look, by owner, by local port and by remote."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from vespiary.prove.timewait.closers import KnownBy, Owner
from vespiary.prove.timewait.forecast import SLOTS_PER_SECOND
from vespiary.prove.timewait.kernel import TIME_WAIT_SECONDS
from vespiary.prove.timewait.look import Look
from vespiary.prove.timewait.ports import SERVED
from vespiary.prove.timewait.processes import Process, name_of
from vespiary.prove.timewait.report import OwnerReport, PortReport, RemoteReport, Waiting
from vespiary.prove.timewait.states import (
    CLOSED_BY_PEER,
    CLOSED_HERE,
    LISTEN,
    TIME_WAIT,
    present,
)
from vespiary.prove.timewait.tally import OTHERS, Budget, Cell, Service

__all__ = ["Alive", "closed_by", "of_owners", "of_ports", "of_remotes", "owner_of", "waiting"]

Key = TypeVar("Key", bound=Hashable)


@dataclass
class Group:
    """Sockets that belong together."""

    states: Counter[int] = field(default_factory=Counter)
    known_by: Counter[KnownBy] = field(default_factory=Counter)
    processes: dict[int, int] = field(default_factory=dict)
    first: int | None = None
    last: int = 0

    def add(self, cell: Cell) -> None:
        """Add the sockets of a cell."""
        self.states[cell.state] += cell.sockets
        if cell.state == TIME_WAIT:
            first = min(cell.slots)
            self.first = first if self.first is None else min(self.first, first)
            self.last = max(self.last, *cell.slots)

    @property
    def sockets(self) -> int:
        """How many there are."""
        return self.states.total()

    def time_wait(self, now: float) -> Waiting | None:
        """Since when and until when it has sockets in TIME_WAIT."""
        return None if self.first is None else waiting(now, self.first, self.last)


def waiting(now: float, first: int, last: int) -> Waiting:
    """When the one began that ends in half second `first`, and when that of `last` will end."""
    soonest, latest = (slot / SLOTS_PER_SECOND for slot in (first, last))
    since = now - (TIME_WAIT_SECONDS - soonest)
    return {"since": round(since, 1), "until": round(now + latest + 1 / SLOTS_PER_SECOND, 1)}


class Alive:
    """Whether a process is still running, asked once per look."""

    def __init__(self) -> None:
        self._answers: dict[Process, bool] = {}

    def __call__(self, process: Process) -> bool:
        """Whether it is, under the same name."""
        answer = self._answers.get(process)
        if answer is None:
            answer = process.pid != 0 and name_of(process.pid) == process.name
            self._answers[process] = answer
        return answer


def _grouped(pairs: Iterable[tuple[Key, Cell]]) -> dict[Key, Group]:
    groups: dict[Key, Group] = defaultdict(Group)
    for key, cell in pairs:
        groups[key].add(cell)
    return groups


def owner_of(owner: Owner, alive: Alive) -> tuple[str, int | None] | None:
    """The name and the number of a process; processes of a name that have ended are one."""
    process = owner.process
    if process is None:
        return None
    return process.name, process.pid if alive(process) else None


def of_owners(look: Look, alive: Alive) -> list[OwnerReport]:
    """By process; what is not known is one, without a name."""
    groups: dict[tuple[str, int | None] | None, Group] = defaultdict(Group)
    keys = {}
    for cell in look.cells:
        if cell.owner not in keys:
            keys[cell.owner] = owner_of(look.owners[cell.owner], alive)
        group = groups[keys[cell.owner]]
        group.add(cell)
        owner = look.owners[cell.owner]
        group.known_by[owner.known_by] += cell.sockets
        if owner.process is not None:
            group.processes.setdefault(cell.owner, look.folded.get(cell.owner, 1))
    return [
        {
            "namespace": look.namespace.name,
            "process": key[0] if key else None,
            "pid": key[1] if key else None,
            "processes": sum(group.processes.values()),
            "sockets": group.sockets,
            "states": present(group.states),
            "known_by": dict(group.known_by),
            "time_wait": group.time_wait(look.clock),
        }
        for key, group in groups.items()
    ]


def of_ports(look: Look) -> list[PortReport]:
    """By local port that is served; all ports of clients are one, 0."""
    groups = _grouped(
        (cell.group.port if isinstance(cell.group, Service) else 0, cell) for cell in look.cells
    )
    return [
        {
            "namespace": look.namespace.name,
            "port": port,
            "sockets": group.sockets,
            "states": present(group.states),
            "time_wait": group.time_wait(look.clock),
        }
        for port, group in groups.items()
    ]


def of_remotes(look: Look) -> list[RemoteReport]:
    """By remote address, and by port where the remote is the one that serves."""
    groups = _grouped(
        (_remote_of(cell.group), cell)
        for cell in look.cells
        if cell.state != LISTEN and OTHERS not in cell.group
    )
    return [
        {
            "namespace": look.namespace.name,
            "address": address,
            "port": port,
            "sockets": group.sockets,
            "states": present(group.states),
            "time_wait": group.time_wait(look.clock),
        }
        for (address, port), group in groups.items()
    ]


def _remote_of(group: Budget | Service) -> tuple[str, int]:
    return (group.remote, 0) if isinstance(group, Service) else (group.destination, group.port)


def closed_by(cells: Iterable[Cell]) -> Counter[str]:
    """Which side closed first: this end as client or as server, or the peer."""
    counts: Counter[str] = Counter()
    for cell in cells:
        if cell.state in CLOSED_BY_PEER:
            counts["by_peer"] += cell.sockets
        elif cell.state in CLOSED_HERE:
            side = "here_as_server" if cell.lane == SERVED else "here_as_client"
            counts[side] += cell.sockets
    return counts
