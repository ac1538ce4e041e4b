"""What is reported of one moment: the object that `--json` prints and `--record` writes.

These types are its schema, which `docs/reference/timewait.md` explains. It is made of plain
dictionaries, so that what was recorded is read back as it was.
"""

from typing import Final, Literal, TypedDict

from vespiary.prove.timewait.closers import KnownBy

__all__ = [
    "SCHEMA",
    "Advice",
    "Alarm",
    "Attribution",
    "BudgetReport",
    "Forecast",
    "NamespaceReport",
    "OwnerReport",
    "PortReport",
    "RemoteReport",
    "Report",
    "SocketReport",
    "Waiting",
]

SCHEMA: Final = 1
"""Grows when a field changes its meaning or goes; a new field does not change it."""

States = dict[str, int]
"""The number of sockets in each state; every state is there."""


class Waiting(TypedDict):
    """Since when and until when a group has sockets in TIME_WAIT, in seconds since 1970."""

    since: float
    until: float


class OwnerReport(TypedDict):
    """A process, or all processes of a name that have ended, and its sockets."""

    namespace: str
    process: str | None
    pid: int | None
    processes: int
    sockets: int
    states: States
    known_by: dict[KnownBy, int]
    time_wait: Waiting | None


class PortReport(TypedDict):
    """A local port on which somebody listens; port 0 stands for all ports of clients."""

    namespace: str
    port: int
    sockets: int
    states: States
    time_wait: Waiting | None


class RemoteReport(TypedDict):
    """A remote address; port 0 stands for all ports of the clients there."""

    namespace: str
    address: str
    port: int
    sockets: int
    states: States
    time_wait: Waiting | None


class HalfReport(TypedDict):
    """One half of the range."""

    ports: int
    used: int


class BudgetReport(TypedDict):
    """What is used of the ports from a source to a destination and its port."""

    namespace: str
    source: str
    destination: str
    port: int
    ports: int
    used: int
    in_use: int
    time_wait: int
    connect_half: HalfReport
    bind_half: HalfReport
    closed_per_second: float
    growth_per_second: float
    reuse: bool
    cliff_seconds: float | None
    exhaustion_seconds: float | None
    process: str | None
    pid: int | None


class Forecast(TypedDict):
    """That a limit will be reached; 0 seconds if it is reached now."""

    namespace: str
    kind: Literal["cliff", "exhaustion", "buckets"]
    seconds: float
    source: str | None
    destination: str | None
    port: int | None
    process: str | None
    text: str


class NamespaceReport(TypedDict):
    """What belongs to a network namespace as a whole."""

    name: str
    inode: int
    states: States
    ipv4: States
    ipv6: States
    orphaned_fin_wait2: int
    settings: dict[str, str]
    counters: dict[str, int]
    sockstat: dict[str, int]


class Closed(TypedDict):
    """Which side closed first, of the sockets that are closing or closed."""

    here_as_client: int
    here_as_server: int
    by_peer: int


class Attribution(TypedDict):
    """Of how many sockets in TIME_WAIT the closer is known, and how."""

    method: Literal["tracepoint", "polling"]
    reason: str
    time_wait: int
    before_start: int
    known_by: dict[KnownBy, int]
    coverage: float | None
    unreadable_processes: int
    lost_events: int


class Cost(TypedDict):
    """What one look cost, in milliseconds, and the share of one processor since the start.

    All are elapsed times but `processor`, which is what this used of a processor.
    """

    dump: float
    owners: float
    count: float
    kernel: float
    events: float
    report: float
    total: float
    processor: float
    processor_share: float


class Advice(TypedDict):
    """A setting or a counter; no advice if it does not bear on what was measured."""

    namespace: str
    setting: str
    value: str | None
    meaning: str
    advice: str | None


class Alarm(TypedDict):
    """An alarm that was reached."""

    alarm: str
    value: float
    text: str


class SocketReport(TypedDict):
    """One socket, with `--sockets`."""

    namespace: str
    state: str
    local_address: str
    local_port: int
    remote_address: str
    remote_port: int
    process: str | None
    pid: int | None
    known_by: KnownBy
    closed_by: Literal["this end", "peer"] | None
    since: float | None
    until: float | None


class _Always(TypedDict):
    schema: int
    vespiary: str
    time: float
    watched_seconds: float
    states: States
    ipv4: States
    ipv6: States
    closed: Closed
    overflow: int
    owners: list[OwnerReport]
    local_ports: list[PortReport]
    remotes: list[RemoteReport]
    budgets: list[BudgetReport]
    forecasts: list[Forecast]
    attribution: Attribution
    namespaces: list[NamespaceReport]
    unreachable: list[str]
    advice: list[Advice]
    alarms: list[Alarm]
    cost_milliseconds: Cost
    omitted_groups: int


class Report(_Always, total=False):
    """All of it."""

    sockets: list[SocketReport]
