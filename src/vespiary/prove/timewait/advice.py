"""What the kernel's settings and counters mean, and what to do, given what was measured.

Nothing is changed. What does not bear on what was measured gets no advice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vespiary._counted import counted
from vespiary.prove.timewait.budgets import Use, is_reused
from vespiary.prove.timewait.kernel import TIME_WAIT_SECONDS, Kernel
from vespiary.prove.timewait.report import Advice, States
from vespiary.prove.timewait.tally import host_port

__all__ = ["Measured", "advise"]

_FULL: Final = 0.25
"""From this share of the half range on, the ports of a budget are worth advice."""

_BUCKETS_FULL: Final = 0.5
_MANY: Final = 100

_WIDE_LOW, _WIDE_HIGH = 10240, 65000


@dataclass(frozen=True)
class Measured:
    """What advice depends on, of one namespace.

    Attributes:
        kernel: Settings and counters.
        states: Sockets by state.
        fullest: The budget with the most ports in use.
        overflow: By how many TCPTimeWaitOverflow grew while watched.
        served: Sockets in TIME_WAIT on ports that are served here.
        idle: The process with the most sockets in CLOSE_WAIT.
    """

    kernel: Kernel
    states: States
    fullest: Use | None = None
    overflow: int = 0
    served: int = 0
    idle: str | None = None

    @property
    def is_tight(self) -> bool:
        """Whether a destination has taken a good part of its ports."""
        if self.fullest is None:
            return False
        limit = self.kernel.port_range.connect_ports * _FULL
        return max(half.used for half in self.fullest.halves.values()) >= limit

    @property
    def is_blocked(self) -> bool:
        """Whether ports in TIME_WAIT cannot be taken again there."""
        return self.fullest is not None and not is_reused(self.fullest.budget, self.kernel)

    @property
    def where(self) -> str:
        """The destination of the fullest budget."""
        if self.fullest is None:
            return ""
        budget = self.fullest.budget
        return host_port(budget.destination, budget.port)


def _range(it: Measured) -> str | None:
    ports = it.kernel.port_range
    if not it.is_tight or not it.is_blocked:
        return None
    limit = ports.connect_ports / TIME_WAIT_SECONDS
    text = (
        f"{it.where} has taken {it.fullest.used if it.fullest else 0:,} of {ports.ports:,} ports;"
        f" connecting gets slow at {ports.connect_ports:,}, which {limit:,.0f} short connections"
        " per second keep filled"
    )
    if ports.high - ports.low >= _WIDE_HIGH - _WIDE_LOW:
        return f"{text}. The range is wide already: keep connections open, or use more addresses"
    wide = (_WIDE_HIGH - _WIDE_LOW + 1) // 2
    return (
        f"{text}. {_WIDE_LOW} {_WIDE_HIGH} would move that to {wide:,}"
        f" ({wide / TIME_WAIT_SECONDS:,.0f} per second); reserve the ports of your servers"
    )


def _reserved(it: Measured) -> str | None:
    ports = it.kernel.port_range
    inside = sum(ports.low <= port <= ports.high for port in ports.reserved)
    if not it.is_tight or not inside:
        return None
    return f"{inside:,} reserved ports lie inside of the range and are never given out"


def _reuse(it: Measured) -> str | None:
    use, reuse = it.fullest, it.kernel.number("tcp_tw_reuse", 2)
    if use is None or not it.is_tight:
        return None
    if is_reused(use.budget, it.kernel):
        return (
            f"ports to {it.where} are taken again after {it.kernel.reuse_delay_seconds:g} s in"
            f" TIME_WAIT if the server uses timestamps"
            f" (TWRecycled: {it.kernel.counters.get('TWRecycled', 0):,})"
        )
    loopback = "; 2 is for loopback addresses only" if reuse == 2 else ""
    return (
        f"1 lets new connections to {it.where} take ports that have been in TIME_WAIT for"
        f" {it.kernel.reuse_delay_seconds:g} s, if both ends use timestamps{loopback}. It is safe"
        " for clients; keeping connections open is better"
    )


def _timestamps(it: Measured) -> str | None:
    if it.is_tight and it.kernel.number("tcp_timestamps", 1) == 0:
        return "0 keeps tcp_tw_reuse from working: set it to 1"
    return None


def _buckets(it: Measured) -> str | None:
    limit = it.kernel.number("tcp_max_tw_buckets", 0)
    waiting = it.states["time_wait"]
    if limit and waiting >= limit * _BUCKETS_FULL:
        return (
            f"{waiting:,} of {limit:,} are used. At the limit connections skip TIME_WAIT; raise it,"
            " each costs about 250 bytes"
        )
    return None


def _fin_timeout(it: Measured) -> str | None:
    if it.states["fin_wait2"] >= _MANY:
        waiting = counted(it.states["fin_wait2"], "connection waits", "connections wait")
        return (
            f"{waiting} for the peer to close too. A lower value ends sockets without a "
            "process sooner. It does not shorten TIME_WAIT"
        )
    if it.is_tight:
        return "it does not shorten TIME_WAIT, which always lasts 60 s: leave it"
    return None


def _orphans(it: Measured) -> str | None:
    limit = it.kernel.number("tcp_max_orphans", 0)
    orphans = it.kernel.sockstat.get("orphan", 0)
    if limit and orphans >= limit * _BUCKETS_FULL:
        return f"{orphans:,} of {limit:,}: at the limit, connections are reset"
    return None


_SETTINGS: dict[str, tuple[str, Callable[[Measured], str | None]]] = {
    "net.ipv4.ip_local_port_range": ("the ports of outgoing connections", _range),
    "net.ipv4.ip_local_reserved_ports": ("ports that are not given out", _reserved),
    "net.ipv4.tcp_tw_reuse": (
        "whether outgoing connections may take a port in TIME_WAIT (0 no, 1 yes, 2 on loopback)",
        _reuse,
    ),
    "net.ipv4.tcp_tw_reuse_delay": ("after how many milliseconds they may", lambda _: None),
    "net.ipv4.tcp_timestamps": ("timestamps, which tcp_tw_reuse needs", _timestamps),
    "net.ipv4.tcp_max_tw_buckets": ("the most sockets in TIME_WAIT", _buckets),
    "net.ipv4.tcp_fin_timeout": ("seconds in FIN_WAIT2 without a process", _fin_timeout),
    "net.ipv4.tcp_max_orphans": ("the maximum number of sockets without a process", _orphans),
}


def _overflow(it: Measured) -> str | None:
    total = it.kernel.counters.get("TCPTimeWaitOverflow", 0)
    if not total:
        return None
    limit = it.kernel.number("tcp_max_tw_buckets", 0)
    lately = f", {it.overflow:,} of them while this was watching" if it.overflow else ""
    return (
        f"{counted(total, 'connection')} skipped TIME_WAIT{lately}, because tcp_max_tw_buckets was"
        " reached: late packets of these can reach a new connection."
        f" Raise it above {limit:,}; each costs about 250 bytes"
    )


def _recycled(it: Measured) -> str | None:
    total = it.kernel.counters.get("TWRecycled", 0)
    if not it.is_tight or it.is_blocked:
        return None
    if total:
        return f"reuse works: {total:,} ports were taken again while they were in TIME_WAIT"
    return "no port was taken again yet: does the other end use timestamps?"


_COUNTERS: dict[str, tuple[str, Callable[[Measured], str | None]]] = {
    "TW": ("sockets that went into TIME_WAIT", lambda _: None),
    "TWRecycled": ("ports in TIME_WAIT that new connections took", _recycled),
    "TWKilled": ("sockets that left TIME_WAIT early", lambda _: None),
    "TCPTimeWaitOverflow": (
        "connections that skipped TIME_WAIT, because there were too many",
        _overflow,
    ),
    "PAWSActive": ("answers to connects that had old timestamps, and were dropped", lambda _: None),
    "PAWSTimewait": ("segments with old timestamps to sockets in TIME_WAIT", lambda _: None),
}
"""Those of the kernel's counters that bear on TIME_WAIT, since the namespace was made."""


def _of_programs(it: Measured) -> list[tuple[str, str, str]]:
    """What no setting helps with: (what, meaning, advice)."""
    found = []
    if it.states["close_wait"] >= _MANY:
        who = it.idle or "a process"
        found.append(
            (
                "close_wait",
                "connections that the peer has closed and this end has not",
                f"{it.states['close_wait']:,} of them, most of {who}: it does not close its"
                " sockets. No setting ends them",
            )
        )
    if it.served >= _MANY:
        found.append(
            (
                "time_wait on served ports",
                "connections that a server here closed first",
                f"{it.served:,} of them: they cost memory (about 250 bytes each), but no port of"
                " this machine's outgoing connections. Let clients close first to avoid them",
            )
        )
    return found


def advise(namespace: str, it: Measured) -> list[Advice]:
    """Every setting and counter there is, with advice where it bears on what was measured."""
    rows: list[Advice] = [
        {
            "namespace": namespace,
            "setting": name,
            "value": it.kernel.settings[name],
            "meaning": meaning,
            "advice": rule(it),
        }
        for name, (meaning, rule) in _SETTINGS.items()
        if name in it.kernel.settings
    ]
    rows += [
        {
            "namespace": namespace,
            "setting": name,
            "value": str(it.kernel.counters[name]),
            "meaning": meaning,
            "advice": rule(it),
        }
        for name, (meaning, rule) in _COUNTERS.items()
        if name in it.kernel.counters
    ]
    rows += [
        {
            "namespace": namespace,
            "setting": what,
            "value": None,
            "meaning": meaning,
            "advice": advice,
        }
        for what, meaning, advice in _of_programs(it)
    ]
    return rows
