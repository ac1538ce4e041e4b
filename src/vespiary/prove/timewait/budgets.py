"""The budget of local ports of each source, destination and destination port, and its forecasts."""

import ipaddress
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from vespiary.prove.timewait.forecast import SLOTS_PER_SECOND, rate_of, seconds_until
from vespiary.prove.timewait.kernel import TIME_WAIT_SECONDS, Kernel
from vespiary.prove.timewait.ports import BIND, CONNECT
from vespiary.prove.timewait.tally import OTHERS, Budget, Cell

__all__ = ["Growth", "Half", "Use", "is_reused", "uses"]


@dataclass
class Half:
    """The ports of one parity: sockets in use, and when those in TIME_WAIT end."""

    live: int = 0
    slots: Counter[int] = field(default_factory=Counter)

    @property
    def used(self) -> int:
        """Ports that a connection to this destination has."""
        return self.live + self.slots.total()


@dataclass
class Use:
    """What is used of a budget, and by whom.

    Attributes:
        budget: Which one.
        halves: By the half of the range: `CONNECT` is the one that `connect` takes first.
        owners: How many ports each owner has, by its number.
    """

    budget: Budget
    halves: dict[int, Half] = field(default_factory=lambda: {CONNECT: Half(), BIND: Half()})
    owners: Counter[int] = field(default_factory=Counter)

    @property
    def live(self) -> int:
        """Ports of sockets that are in use."""
        return sum(half.live for half in self.halves.values())

    @property
    def used(self) -> int:
        """Ports that a connection to this destination has."""
        return sum(half.used for half in self.halves.values())

    @property
    def slots(self) -> Counter[int]:
        """When what is in TIME_WAIT ends, in both halves."""
        return self.halves[CONNECT].slots + self.halves[BIND].slots

    @property
    def rate(self) -> float:
        """How many connections per second went into TIME_WAIT lately."""
        return rate_of(self.slots, TIME_WAIT_SECONDS)

    def cliff_seconds(self, kernel: Kernel, growth: float) -> float | None:
        """The seconds until one half is full, so that `connect` or `bind` must search all of it."""
        ports = kernel.port_range
        live = self.live or 1
        limits = ((CONNECT, ports.connect_ports), (BIND, ports.bind_ports))
        found = [
            self._seconds(half, limit, kernel, growth * half.live / live)
            for half, limit in ((self.halves[lane], limit) for lane, limit in limits)
        ]
        return min((seconds for seconds in found if seconds is not None), default=None)

    def exhaustion_seconds(self, kernel: Kernel, growth: float) -> float | None:
        """The seconds until no port is left, and `connect` fails with EADDRNOTAVAIL."""
        both = Half(self.live, self.slots)
        return self._seconds(both, kernel.port_range.ports, kernel, growth)

    def _seconds(self, half: Half, limit: int, kernel: Kernel, growth: float) -> float | None:
        if half.used == 0 and limit > 0:
            return None
        hold, slots = TIME_WAIT_SECONDS, half.slots
        if is_reused(self.budget, kernel):
            hold = min(hold, kernel.reuse_delay_seconds)
            earlier = round((TIME_WAIT_SECONDS - hold) * SLOTS_PER_SECOND)
            slots = Counter({slot - earlier: n for slot, n in slots.items() if slot >= earlier})
        return seconds_until(
            limit,
            used=half.live,
            growth=growth,
            slots=slots,
            rate=rate_of(half.slots, TIME_WAIT_SECONDS),
            hold_seconds=hold,
        )


def is_reused(budget: Budget, kernel: Kernel) -> bool:
    """Whether a new connection may take a port that is in TIME_WAIT (`tcp_twsk_unique`).

    With `tcp_tw_reuse` 1 any may, with 2 only one from or to a loopback address; and both ends must
    use timestamps, which is known of this end only.
    """
    if kernel.number("tcp_timestamps", 1) == 0:
        return False
    reuse = kernel.number("tcp_tw_reuse", 2)
    ends = (budget.source, budget.destination)
    return reuse == 1 or (reuse == 2 and any(ipaddress.ip_address(end).is_loopback for end in ends))


def uses(cells: Iterable[Cell], most: int) -> list[Use]:
    """What is used of each budget, the fullest first, and of those no more than `most`."""
    of: dict[Budget, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.lane not in (CONNECT, BIND) or not isinstance(cell.group, Budget):
            continue
        if cell.group.source != OTHERS:
            of[cell.group].append(cell)
    used = {budget: sum(cell.sockets for cell in its) for budget, its in of.items()}
    fullest = sorted(used, key=lambda budget: (-used[budget], budget))
    return [_use(budget, of[budget]) for budget in fullest[:most]]


def _use(budget: Budget, cells: Iterable[Cell]) -> Use:
    use = Use(budget)
    for cell in cells:
        half = use.halves[cell.lane]
        if cell.slots:
            half.slots.update(cell.slots)
        else:
            half.live += cell.sockets
        use.owners[cell.owner] += cell.sockets
    return use


class Growth:
    """How the sockets in use of each budget grew lately."""

    def __init__(self, window_seconds: float = 10.0) -> None:
        self._window = window_seconds
        self._seen: dict[object, list[tuple[float, int]]] = defaultdict(list)

    def note(self, now: float, live: dict[object, int]) -> dict[object, float]:
        """Note how many there are, and return by how many there are more per second."""
        rates = {}
        for budget, count in live.items():
            seen = self._seen[budget]
            seen.append((now, count))
            while now - seen[0][0] > self._window and len(seen) > 2:
                del seen[0]
            began, before = seen[0]
            elapsed = now - began
            rates[budget] = (count - before) / elapsed if elapsed >= self._window / 2 else 0.0
        for budget in self._seen.keys() - live.keys():
            del self._seen[budget]
        return rates
