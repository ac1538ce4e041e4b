"""What a suite file says: cases, how each is started, checked and stopped, and under which tools.

Only the standard library is needed here, so that a case can be run on a machine without more.
`docs/reference/prove.md` describes each key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from vespiary.prove.acceptance.values import (
    Comparison,
    ExitCode,
    Pattern,
    Seconds,
    SignalName,
    Size,
    Words,
)

__all__ = [
    "Axes",
    "Case",
    "Checks",
    "Client",
    "Counter",
    "Defaults",
    "File",
    "Host",
    "Matrix",
    "Ready",
    "Server",
    "Ship",
    "Stop",
    "Suite",
    "Tool",
]

_STRICT: Final[Any] = {"extra": "forbid", "strict": True}
"""An unknown key is an error, and a value of another type too."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """When a server is ready: all that is given must be so.

    Attributes:
        port: Something listens on this TCP port, or has bound this UDP port.
        output: What the server has written matches.
        http: A GET of this URL is answered with `status`.
        status: The status of that answer.
        notify: The server sends READY=1 to the socket in NOTIFY_SOCKET (sd_notify(3)).
        within: How long it may take.
    """

    __pydantic_config__ = _STRICT
    port: str | int | None = None
    output: Pattern | None = None
    http: str | None = None
    status: int = 200
    notify: bool = False
    within: Seconds = Seconds(30)


@dataclass(frozen=True, kw_only=True)
class Stop:
    """How a server is stopped, and how it must stop.

    Attributes:
        signal: What is sent to it.
        within: How long it may take to end.
        exit: How it must end.
    """

    __pydantic_config__ = _STRICT
    signal: SignalName = SignalName("SIGTERM")
    within: Seconds = Seconds(10)
    exit: ExitCode = ExitCode(0)


@dataclass(frozen=True, kw_only=True)
class Server:
    """A program that serves.

    Attributes:
        command: How it is started.
        environment: Variables besides those of the case.
        folder: Its working folder, relative to the suite's; that one by default.
        ready: When clients may come.
        stop: How it is stopped.
    """

    __pydantic_config__ = _STRICT
    command: Words
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "."
    ready: Ready = Ready()
    stop: Stop = Stop()


@dataclass(frozen=True, kw_only=True)
class Client:
    """A program that uses the server, and ends by itself.

    Attributes:
        command: How it is started; or
        load: The arguments of `vespiary load`.
        name: What reports call it; its number by default.
        environment: Variables besides those of the case.
        folder: Its working folder, relative to the suite's; that one by default.
        within: How long it may run.
        exit: How it must end.
        output: What it writes must match each of these.
        no_output: What it writes must match none of these.
        under_tool: Whether it runs under the tool, too. In a case without a server clients do.
        stop_after: Send it SIGTERM after this time: for a client that does not end by itself.
        stop_on: Send it SIGTERM when what it has written matches.
    """

    __pydantic_config__ = _STRICT
    command: Words | None = None
    load: Words | None = None
    name: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "."
    within: Seconds = Seconds(60)
    exit: ExitCode = ExitCode(0)
    output: list[Pattern] = field(default_factory=list)
    no_output: list[Pattern] = field(default_factory=list)
    under_tool: bool = False
    stop_after: Seconds | None = None
    stop_on: Pattern | None = None


@dataclass(frozen=True, kw_only=True)
class Counter:
    """A number that must have a value.

    Attributes:
        url: Where it is read: the answer to a GET; or
        file: a file; or
        command: what a command writes to standard output.
        json: Its place in an object, such as `total.messages_received`; or
        metric: its name in the text of OpenMetrics (all its samples are added); or
        pattern: an expression with one group, which is the number.
        expect: What it must satisfy.
        when: After the clients, or after the stop.
    """

    __pydantic_config__ = _STRICT
    url: str | None = None
    file: str | None = None
    command: Words | None = None
    json: str | None = None
    metric: str | None = None
    pattern: Pattern | None = None
    expect: Comparison
    when: Literal["after-clients", "after-stop"] = "after-clients"


@dataclass(frozen=True, kw_only=True)
class File:
    """A file as it must be after the stop.

    Attributes:
        path: Where.
        exists: Whether it must be there.
        contains: What its text must match.
        bytes_max: The most that it may have.
    """

    __pydantic_config__ = _STRICT
    path: str
    exists: bool = True
    contains: Pattern | None = None
    bytes_max: Size | None = None


@dataclass(frozen=True, kw_only=True)
class Checks:
    """What must be true of a server besides its clients' success.

    Attributes:
        output: What it writes must match each of these.
        no_output: What it writes must match none of these.
        ports_closed: Whether nothing may listen on the case's ports after the stop.
        descriptors_growth_max: How many descriptors more than when it became ready the server may
            have after its clients.
        children_growth_max: How many processes more it may have then; any number by default.
        left_behind: How many processes may outlive the server's stop. They are ended in any case.
        files: Files as they must be after the stop.
        counters: Numbers that must have a value.
    """

    __pydantic_config__ = _STRICT
    output: list[Pattern] = field(default_factory=list)
    no_output: list[Pattern] = field(default_factory=list)
    ports_closed: bool = True
    descriptors_growth_max: int = 16
    children_growth_max: int | None = None
    left_behind: int = 0
    files: list[File] = field(default_factory=list)
    counters: list[Counter] = field(default_factory=list)


Axis = str | int
Axes = dict[str, Axis | list[Axis]]


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """What each case is combined with.

    Attributes:
        tools: Tools that the server runs under.
        drivers: Values of VESPIARY_DRIVER, and of `{driver}`.
        pythons: Interpreters, for `{python}`; the one that runs the suite by default.
        workers: Numbers, for `{workers}`.
        hosts: Hosts, by name; by default a case runs on any of them.
        exclude: Combinations that are omitted: a name or a list of names by axis.
    """

    __pydantic_config__ = _STRICT
    tools: list[str] | None = None
    drivers: list[str] | None = None
    pythons: list[str] | None = None
    workers: list[int] | None = None
    hosts: list[str] | None = None
    exclude: list[Axes] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A server with its clients, and what must be true.

    Attributes:
        about: What it shows, for reports.
        services: Servers that this one needs, started before it and never run under a tool.
        server: The server; without one, the clients are what runs under the tools.
        clients: Run one after the other, or
        at_once: all at the same time.
        checks: What must be true besides the clients' success.
        matrix: What replaces the suite's matrix, axis by axis.
        environment: Variables of all programs of the case.
        timeout: How long the whole case may take.
        memory: How much memory all its programs may use together.
        output: How much all its programs may write to their output together.
        tool_arguments: Arguments for a tool, by its name, instead of the suite's.
        may_grow: Whether the server's memory may grow, as that of a store does that is filled.
    """

    __pydantic_config__ = _STRICT
    about: str = ""
    services: dict[str, Server] = field(default_factory=dict)
    server: Server | None = None
    clients: list[Client] = field(default_factory=list)
    at_once: bool = False
    checks: Checks = Checks()
    matrix: Matrix = Matrix()
    environment: dict[str, str] = field(default_factory=dict)
    timeout: Seconds | None = None
    memory: Size | None = None
    output: Size | None = None
    tool_arguments: dict[str, list[str]] = field(default_factory=dict)
    may_grow: bool = False


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool of the suite's own, or further settings of one that there is.

    Attributes:
        command: What stands before the server's command.
        arguments: Arguments of a tool that there is.
        environment: Variables of the server.
        exits: Exit codes that mean that the tool found something.
        findings: Files that the tool writes when it finds something: a pattern such as
            `{artifacts}/report.*`.
        time_factor: How many times longer everything may take.
    """

    __pydantic_config__ = _STRICT
    command: Words | None = None
    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    exits: list[int] = field(default_factory=list)
    findings: str | None = None
    time_factor: float | None = None


@dataclass(frozen=True, kw_only=True)
class Host:
    """A machine that runs cases.

    Attributes:
        ssh: The arguments of `ssh` that lead to it, such as `user@host -p 2222`.
        python: Python there, 3.11 or newer.
        jobs: How many cases it runs at once.
        folder: Where files are kept there.
    """

    __pydantic_config__ = _STRICT
    ssh: str
    python: str = "python3"
    jobs: int = 2
    folder: str = "~/.cache/vespiary-prove"


@dataclass(frozen=True, kw_only=True)
class Ship:
    """What is sent to hosts.

    Attributes:
        folders: Folders, relative to the suite's, that keep their places relative to it.
        wheels: Wheels that the programs import.
        ignore: Names of files and folders that are omitted.
    """

    __pydantic_config__ = _STRICT
    folders: list[str] = field(default_factory=lambda: ["."])
    wheels: list[str] = field(default_factory=list)
    ignore: list[str] = field(default_factory=lambda: ["__pycache__", ".*"])


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What holds for all cases that do not say otherwise.

    Attributes:
        timeout: How long a whole case may take.
        memory: How much memory all programs of a case may use together.
        output: How much all programs of a case may write to their output together.
        environment: Variables of all programs.
    """

    __pydantic_config__ = _STRICT
    timeout: Seconds = Seconds(120)
    memory: Size = Size(2 << 30)
    output: Size = Size(256 << 20)
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A suite file.

    Attributes:
        name: What reports call it; the file's name by default.
        defaults: What holds for all cases.
        matrix: What each case is combined with.
        tools: Tools of its own, and settings of others.
        hosts: Machines that run cases.
        ship: What is sent to them.
        cases: By name.
    """

    __pydantic_config__ = _STRICT
    name: str = ""
    defaults: Defaults = Defaults()
    matrix: Matrix = Matrix()
    tools: dict[str, Tool] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)
    ship: Ship = Ship()
    cases: dict[str, Case]
