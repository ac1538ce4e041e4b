"""Make the report of one moment from the looks at each namespace."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from vespiary._core import __version__
from vespiary.prove.timewait.advice import Measured, advise
from vespiary.prove.timewait.budgets import Growth, Use, is_reused, uses
from vespiary.prove.timewait.closers import KnownBy
from vespiary.prove.timewait.forecast import rate_of, seconds_until
from vespiary.prove.timewait.kernel import TIME_WAIT_SECONDS
from vespiary.prove.timewait.look import Costs, Look
from vespiary.prove.timewait.ports import BIND, CONNECT, SERVED
from vespiary.prove.timewait.report import (
    SCHEMA,
    Advice,
    Attribution,
    BudgetReport,
    Cost,
    Forecast,
    NamespaceReport,
    OwnerReport,
    PortReport,
    RemoteReport,
    Report,
    States,
)
from vespiary.prove.timewait.states import NUMBERS, TIME_WAIT, counts_by_name
from vespiary.prove.timewait.tally import host_port
from vespiary.prove.timewait.views import (
    Alive,
    closed_by,
    of_owners,
    of_ports,
    of_remotes,
    owner_of,
)

__all__ = ["Moment", "build"]

_PORTS_MAX = 500
"""Of local ports that are served."""

_BUDGETS_MAX = 100
"""Of each namespace: the fullest ones."""

_FORECASTS_FROM = 0.01
"""A budget of which less than this share is used gets no forecast."""

_AF_INET = 2


@dataclass
class Moment:
    """What a report depends on besides the looks, and keeps from one to the next.

    Attributes:
        method: Which of `tracepoint` and `polling` finds the closers.
        reason: Why it is that one.
        began: When watching began (`time.monotonic`).
        growth: Of the sockets in use.
        overflow: TCPTimeWaitOverflow of each namespace at the beginning.
    """

    method: str
    reason: str
    began: float = field(default_factory=time.monotonic)
    growth: Growth = field(default_factory=Growth)
    overflow: dict[int, int] = field(default_factory=dict)
    costs: Costs = field(default_factory=Costs)
    processor_share: float = 0.0
    unreadable: int = 0
    lost: int = 0
    unreachable: list[str] = field(default_factory=list)


@dataclass
class _Parts:
    """The lists of a report, of all namespaces."""

    owners: list[OwnerReport] = field(default_factory=list)
    ports: list[PortReport] = field(default_factory=list)
    remotes: list[RemoteReport] = field(default_factory=list)
    budgets: list[BudgetReport] = field(default_factory=list)
    forecasts: list[Forecast] = field(default_factory=list)
    namespaces: list[NamespaceReport] = field(default_factory=list)
    advice: list[Advice] = field(default_factory=list)
    closed: Counter[str] = field(default_factory=Counter)
    overflow: int = 0


def build(looks: Sequence[Look], moment: Moment) -> Report:
    """Make the report; alarms, sockets and costs are added by the caller."""
    now, alive, parts = time.time(), Alive(), _Parts()
    watched = time.monotonic() - moment.began
    for look in looks:
        _add(parts, look, moment, alive)
    for rows in (parts.owners, parts.ports, parts.remotes):
        rows.sort(key=lambda row: -row["sockets"])
    parts.budgets.sort(key=lambda row: -row["used"])
    parts.forecasts.sort(key=lambda row: row["seconds"])
    groups = sum(look.omitted for look in looks)
    return {
        "schema": SCHEMA,
        "vespiary": __version__,
        "time": round(now, 3),
        "watched_seconds": round(watched, 3),
        "states": _sum(it["states"] for it in parts.namespaces),
        "ipv4": _sum(it["ipv4"] for it in parts.namespaces),
        "ipv6": _sum(it["ipv6"] for it in parts.namespaces),
        "closed": {
            "here_as_client": parts.closed["here_as_client"],
            "here_as_server": parts.closed["here_as_server"],
            "by_peer": parts.closed["by_peer"],
        },
        "overflow": parts.overflow,
        "owners": parts.owners,
        "local_ports": parts.ports[:_PORTS_MAX],
        "remotes": parts.remotes,
        "budgets": parts.budgets,
        "forecasts": parts.forecasts,
        "attribution": _attribution(looks, moment),
        "namespaces": parts.namespaces,
        "unreachable": moment.unreachable,
        "advice": parts.advice,
        "alarms": [],
        "cost_milliseconds": _cost(looks, moment),
        "omitted_groups": groups,
    }


def _sum(counts: Iterable[States]) -> States:
    total = counts_by_name({})
    for count in counts:
        for name, number in count.items():
            total[name] += number
    return total


def _add(parts: _Parts, look: Look, moment: Moment, alive: Alive) -> None:
    """Add what one namespace has."""
    namespace = _namespace(look)
    parts.namespaces.append(namespace)
    parts.owners += of_owners(look, alive)
    parts.ports += of_ports(look)
    parts.remotes += of_remotes(look)
    parts.closed += closed_by(look.cells)
    used = uses(look.cells, _BUDGETS_MAX)
    growth = moment.growth.note(
        look.moment, {(look.namespace.inode, use.budget): use.live for use in used}
    )
    least = look.kernel.port_range.ports * _FORECASTS_FROM
    for use in used:
        rate = growth[look.namespace.inode, use.budget]
        budget = _budget(look, use, rate, alive, forecast=use.used >= least)
        parts.budgets.append(budget)
        parts.forecasts += _forecasts(budget)
    parts.forecasts += _bucket_forecast(look)
    overflow = look.kernel.counters.get("TCPTimeWaitOverflow", 0)
    overflow -= moment.overflow.setdefault(look.namespace.inode, overflow)
    parts.overflow += overflow
    parts.advice += advise(
        look.namespace.name,
        Measured(
            look.kernel,
            namespace["states"],
            used[0] if used else None,
            overflow,
            sum(it.sockets for it in look.cells if it.state == TIME_WAIT and it.lane == SERVED),
            _most(look, "close_wait"),
        ),
    )


def _namespace(look: Look) -> NamespaceReport:
    families: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
    orphaned = 0
    for cell in look.cells:
        families[cell.family != _AF_INET][cell.state] += cell.sockets
        if cell.slots and cell.state != TIME_WAIT:
            orphaned += cell.sockets
    return {
        "name": look.namespace.name,
        "inode": look.namespace.inode,
        "states": counts_by_name(families[0] + families[1]),
        "ipv4": counts_by_name(families[0]),
        "ipv6": counts_by_name(families[1]),
        "orphaned_fin_wait2": orphaned,
        "settings": look.kernel.settings,
        "counters": look.kernel.counters,
        "sockstat": look.kernel.sockstat,
    }


def _most(look: Look, state: str) -> str | None:
    """The process with the most sockets in a state."""
    counts: Counter[int] = Counter()
    for cell in look.cells:
        if cell.state == NUMBERS[state]:
            counts[cell.owner] += cell.sockets
    for owner, _ in counts.most_common(1):
        process = look.owners[owner].process
        return f"{process.name} ({process.pid})" if process else None
    return None


def _budget(look: Look, use: Use, growth: float, alive: Alive, *, forecast: bool) -> BudgetReport:
    kernel, ports = look.kernel, look.kernel.port_range
    ((owner, _),) = use.owners.most_common(1)
    process = owner_of(look.owners[owner], alive) or (None, None)
    return {
        "namespace": look.namespace.name,
        "source": use.budget.source,
        "destination": use.budget.destination,
        "port": use.budget.port,
        "ports": ports.ports,
        "used": use.used,
        "in_use": use.live,
        "time_wait": use.used - use.live,
        "connect_half": {"ports": ports.connect_ports, "used": use.halves[CONNECT].used},
        "bind_half": {"ports": ports.bind_ports, "used": use.halves[BIND].used},
        "closed_per_second": round(use.rate, 1),
        "growth_per_second": round(growth, 1),
        "reuse": is_reused(use.budget, kernel),
        "cliff_seconds": _rounded(use.cliff_seconds(kernel, growth) if forecast else None),
        "exhaustion_seconds": _rounded(
            use.exhaustion_seconds(kernel, growth) if forecast else None
        ),
        "process": process[0],
        "pid": process[1],
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _forecasts(budget: BudgetReport) -> Iterable[Forecast]:
    where = host_port(budget["destination"], budget["port"])
    cliff, end = budget["cliff_seconds"], budget["exhaustion_seconds"]
    if cliff is not None:
        yield _forecast(budget, "cliff", cliff, f"connecting to {where} gets slow")
    if end is not None:
        yield _forecast(budget, "exhaustion", end, f"no port is left for {where}")


def _forecast(
    budget: BudgetReport, kind: Literal["cliff", "exhaustion"], seconds: float, text: str
) -> Forecast:
    return {
        "namespace": budget["namespace"],
        "kind": kind,
        "seconds": seconds,
        "source": budget["source"],
        "destination": budget["destination"],
        "port": budget["port"],
        "process": budget["process"],
        "text": text,
    }


def _bucket_forecast(look: Look) -> Iterable[Forecast]:
    limit = look.kernel.number("tcp_max_tw_buckets", 0)
    slots: Counter[int] = Counter()
    for cell in look.cells:
        slots.update(cell.slots)
    if not limit or slots.total() < limit * _FORECASTS_FROM:
        return
    seconds = seconds_until(
        limit,
        used=0,
        growth=0,
        slots=slots,
        rate=rate_of(slots, TIME_WAIT_SECONDS),
        hold_seconds=TIME_WAIT_SECONDS,
    )
    if seconds is not None:
        yield {
            "namespace": look.namespace.name,
            "kind": "buckets",
            "seconds": round(seconds, 1),
            "source": None,
            "destination": None,
            "port": None,
            "process": None,
            "text": f"tcp_max_tw_buckets ({limit:,}) is reached, and TIME_WAIT is skipped",
        }


def _attribution(looks: Sequence[Look], moment: Moment) -> Attribution:
    """Of how many sockets in TIME_WAIT the closer is known, of those that came while watched."""
    known: Counter[KnownBy] = Counter()
    for look in looks:
        for cell in look.cells:
            if cell.state == TIME_WAIT:
                known[look.owners[cell.owner].known_by] += cell.sockets
    before = sum(look.before for look in looks)
    total = known.total()
    watched_ones = total - before
    exact = known["tracepoint"] + known["polling"]
    return {
        "method": "tracepoint" if moment.method == "tracepoint" else "polling",
        "reason": moment.reason,
        "time_wait": total,
        "before_start": before,
        "known_by": dict(known),
        "coverage": round(exact / watched_ones, 4) if watched_ones else None,
        "unreadable_processes": moment.unreadable,
        "lost_events": moment.lost,
    }


def _cost(looks: Sequence[Look], moment: Moment) -> Cost:
    total = Costs()
    for costs in (moment.costs, *(look.costs for look in looks)):
        total.add(costs)
    return {
        "dump": round(total.dump * 1000, 2),
        "owners": round(total.owners * 1000, 2),
        "count": round(total.count * 1000, 2),
        "kernel": round(total.kernel * 1000, 2),
        "events": round(total.events * 1000, 2),
        "report": round(total.report * 1000, 2),
        "total": round(total.total * 1000, 2),
        "processor": 0.0,
        "processor_share": round(moment.processor_share, 4),
    }
