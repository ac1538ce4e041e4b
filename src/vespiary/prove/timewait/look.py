"""One sample of a network namespace: a dump, the owners, the kernel's settings and counters."""

import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from vespiary.prove.timewait.closers import UNKNOWN, Closers, Owner, listeners
from vespiary.prove.timewait.diag import Sockets, dump, open_diag
from vespiary.prove.timewait.events import Close
from vespiary.prove.timewait.kernel import TIME_WAIT_SECONDS, Kernel, read_kernel
from vespiary.prove.timewait.namespaces import Namespace, inside
from vespiary.prove.timewait.processes import Holders
from vespiary.prove.timewait.states import LISTEN, TIME_WAIT
from vespiary.prove.timewait.tally import Cell, Service, fold_owners, served_ports, tally

__all__ = ["Costs", "Look", "Watch"]


@dataclass
class Costs:
    """Where the time of a look went, in seconds."""

    dump: float = 0.0
    owners: float = 0.0
    count: float = 0.0
    kernel: float = 0.0
    events: float = 0.0
    report: float = 0.0

    @property
    def total(self) -> float:
        """The sum."""
        return self.dump + self.owners + self.count + self.kernel + self.events + self.report

    def add(self, other: "Costs") -> None:
        """Add those of another look."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class Look:
    """What one look found.

    Attributes:
        namespace: Where.
        cells: The sockets, counted.
        owners: What a cell's owner means.
        kernel: Settings and counters, read right after the dump.
        sockets: The dump itself.
        numbers: The owner of each socket.
        lanes: What each local port is.
        omitted: How many remotes and budgets are not kept apart, because they have few sockets.
        folded: Of how many processes with few sockets an owner is made.
        before: How many sockets in TIME_WAIT nobody is known to have closed, and were there before
            watching began.
        costs: Where the time went.
        clock: When the dump was made, in seconds since 1970.
        moment: The same by `time.monotonic`.
    """

    namespace: Namespace
    cells: list[Cell]
    owners: Sequence[Owner]
    kernel: Kernel
    sockets: Sockets = field(default_factory=Sockets)
    numbers: Sequence[int] = ()
    lanes: bytes = b""
    omitted: int = 0
    folded: Mapping[int, int] = field(default_factory=dict)
    before: int = 0
    costs: Costs = field(default_factory=Costs)
    clock: float = field(default_factory=time.time)
    moment: float = field(default_factory=time.monotonic)


class Watch:
    """Looks at one network namespace again and again; close it at the end.

    Raises:
        OSError: The namespace cannot be entered, or the kernel has no sock_diag.
    """

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self._closers = Closers()
        self._holders = Holders()
        self._served: set[int] = set()
        self._diag = inside(namespace, open_diag)

    def close(self) -> None:
        """Close the socket that the dumps come through."""
        self._diag.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def unreadable(self) -> int:
        """Of how many processes the descriptors could not be read."""
        return self._holders.unreadable

    def look(self, closes: Sequence[Close] = (), began: float = 0.0) -> Look:
        """Look once.

        Args:
            closes: What the tracepoint reported since the last look, of any namespace.
            began: When watching began (`time.monotonic`).

        Raises:
            DumpError: The kernel's answer is wrong.
            OSError: The namespace has gone.
        """
        costs, clock, moment = Costs(), time.time(), time.monotonic()
        with _no_collection():
            with _timed(costs, "dump"):
                sockets = dump(self._diag)
            with _timed(costs, "kernel"):
                kernel = inside(self.namespace, read_kernel)
            with _timed(costs, "owners"):
                here = (None, self.namespace.inode)
                self._closers.note(
                    (close.key, close.process) for close in closes if close.namespace in here
                )
                held = self._holders.find({inode for inode in sockets.inodes if inode})
                known = self._closers.know(sockets, held)
            with _timed(costs, "count"):
                lanes = kernel.port_range.lanes(self._served_in(sockets))
                owners = list(known.owners)
                before = _from_before(sockets, known.numbers, moment - began)
                numbers, folded = fold_owners(known.numbers, owners)
                counted = tally(sockets, lanes, numbers)
                _name_servers(counted.cells, owners, sockets, known.numbers)
        return Look(
            self.namespace,
            counted.cells,
            owners,
            kernel,
            sockets,
            known.numbers,
            lanes,
            counted.omitted,
            folded,
            before,
            costs,
            clock,
            moment,
        )

    def _served_in(self, sockets: Sockets) -> set[int]:
        """The ports that are listened on, or were, as long as a socket in TIME_WAIT is left."""
        listening = served_ports(sockets, LISTEN)
        gone = self._served - listening
        if gone:
            gone &= served_ports(sockets, TIME_WAIT)
        self._served = listening | gone
        return self._served


def _from_before(sockets: Sockets, numbers: Sequence[int], watched_seconds: float) -> int:
    """How many sockets without an owner went into TIME_WAIT before watching began."""
    limit = (TIME_WAIT_SECONDS - watched_seconds) * 1000
    rows = zip(sockets.states, sockets.milliseconds, numbers, strict=True)
    return sum(
        1
        for state, left, number in rows
        if number == UNKNOWN and state == TIME_WAIT and left < limit
    )


def _name_servers(
    counted: list[Cell], owners: list[Owner], sockets: Sockets, numbers: Sequence[int]
) -> None:
    """Give what has no owner, on a port that a process listens on, to that process."""
    listening = listeners(sockets, numbers, owners)
    given: dict[int, int] = {}
    for index, cell in enumerate(counted):
        if cell.owner != UNKNOWN or not isinstance(cell.group, Service):
            continue
        port = cell.group.port
        if port not in listening:
            continue
        if port not in given:
            given[port] = len(owners)
            owners.append(Owner(listening[port], "listener"))
        counted[index] = cell._replace(owner=given[port])


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the collector of reference cycles from walking through a hundred thousand new tuples."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _timed(costs: Costs, name: str) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    finally:
        setattr(costs, name, getattr(costs, name) + time.perf_counter() - began)
