"""Measure TLS: ours, picows, Bun, uvloop, aiofastnet, Asio, Go and nginx, in turns.

    python -m benches.tls [--repeats 5] [--seconds 1] [--only vespiary --only Bun]

Echoes of 1 KiB and of 64 KiB by the load client, with the server on core 0 and the client on
core 1; full and resumed handshakes by OpenSSL, each with an echo of 32 bytes, or a page over
`https`; and the resident memory of idle connections, after a small message each and after one of
64 KiB. The load client offers X25519MLKEM768 first, OpenSSL 3.0 has X25519 only. All servers use
TLS_AES_128_GCM_SHA256: Go and ours prefer it, Bun gets it because the load client offers it first,
and those with OpenSSL are configured to.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benches import clocks
from benches.catalogue import TLS_SERVERS, Server
from benches.load_client import LoadError, Order, run
from benches.measurement import LOAD_CORE, WARM_UP_SECONDS, ServerError, running
from benches.provision import Toolbox, provide, say
from benches.session import enough_cores, open_files
from benches.summary import Spread
from benches.tls.handshakes import HandshakeError, handshakes

HANDSHAKES = 300
IDLE_CONNECTIONS = 10_000
"""So many that what a server keeps for all of them together hardly counts."""
PEERS_IDLE_CONNECTIONS = 2000
"""Some peers need a quarter of a megabyte for each."""
IDLE_SECONDS = 2.0
IDLE_BYTES_MAX = 4.5 * 1024
BASES = {
    "wss": "wss/vespiary, callback, uring",
    "tls": "tls/vespiary, callback, uring",
    "https": "https/vespiary, page, uring",
}

Repeat = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class Subject:
    """A server that runs."""

    process: int
    url: str
    load: Path
    ca: Path
    idle_connections: int

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.url.rsplit(":", 1)[1].rstrip("/"))

    def cpu_nanoseconds(self) -> int:
        """CPU time of all its processes until now."""
        return sum(clocks.cpu_nanoseconds(one) for one in clocks.family(self.process))


def _echo(subject: Subject, connections: int, size: int, seconds: float) -> float:
    """CPU microseconds for each message."""

    def order(length: float) -> Order:
        return Order(subject.url, connections, size, 1, length, ca=subject.ca)

    run(subject.load, order(WARM_UP_SECONDS))
    with clocks.Sampler(clocks.family(subject.process)) as sampler:
        report = run(subject.load, order(seconds))
    return sampler.between(report.opened, report.ended) / 1000 / report.messages


def _handshake(subject: Subject, *, resumed: bool) -> float:
    """CPU microseconds for each connection."""
    is_page = subject.url.startswith("https:")

    def connect(count: int) -> None:
        handshakes(subject.port, subject.ca, count, resumed=resumed, is_page=is_page)

    connect(20)
    before = subject.cpu_nanoseconds()
    connect(HANDSHAKES)
    return (subject.cpu_nanoseconds() - before) / 1000 / HANDSHAKES


def _idle(subject: Subject, size: int) -> float:
    """Resident bytes for each idle connection, after a message of `size` bytes."""
    # What the server keeps after its first messages does not belong to a connection.
    run(subject.load, Order(subject.url, 20, size, 1, ca=subject.ca))
    processes = clocks.family(subject.process)
    before = clocks.resident_bytes(processes)
    count = subject.idle_connections
    order = Order(subject.url, count, size, 1, hold_seconds=IDLE_SECONDS, ca=subject.ca)
    with clocks.MemorySampler(processes) as resident:
        report = run(subject.load, order)
    end = report.ended + int(IDLE_SECONDS * 0.75e9)
    held = [bytes_ for moment, bytes_ in resident.samples if report.ended < moment <= end]
    if not held:
        raise LoadError("no sample of the memory was taken while the connections idled")
    return (held[-1] - before) / count


@dataclass(frozen=True)
class Scenario:
    """One thing that is measured.

    Attributes:
        title: What stands over its column.
        transports: Which servers take part.
        measure: Gives the figure.
    """

    title: str
    transports: tuple[str, ...]
    measure: Callable[[Subject, float], float]


SCENARIOS = {
    "1 KiB": Scenario(
        "us, 1 KiB x 100", ("wss", "tls"), lambda it, seconds: _echo(it, 100, 1024, seconds)
    ),
    "64 KiB": Scenario(
        "us, 64 KiB x 10", ("wss", "tls"), lambda it, seconds: _echo(it, 10, 65536, seconds)
    ),
    "full": Scenario(
        "us, full handshake", ("tls", "https"), lambda it, _seconds: _handshake(it, resumed=False)
    ),
    "resumed": Scenario(
        "us, resumed", ("tls", "https"), lambda it, _seconds: _handshake(it, resumed=True)
    ),
    "idle": Scenario("idle bytes", ("wss", "tls"), lambda it, _seconds: _idle(it, 32)),
    "idle after 64 KiB": Scenario(
        "idle bytes after 64 KiB", ("wss", "tls"), lambda it, _seconds: _idle(it, 65536)
    ),
}

TARGETS = (
    ("wss", "picows on uvloop", "1 KiB", 0.86),
    ("wss", "Bun", "1 KiB", 0.9),
    ("tls", "aiofastnet Protocol", "1 KiB", 0.75),
    ("tls", "uvloop Protocol", "1 KiB", 0.5),
    ("tls", "aiofastnet Protocol", "64 KiB", 0.75),
    ("tls", "uvloop Protocol", "full", 0.5),
    ("tls", "uvloop Protocol", "resumed", 0.35),
)
"""What ours may cost at most, to a peer."""


def _measure(server: Server, name: str, toolbox: Toolbox, seconds: float) -> float:
    with running(server, toolbox) as (process, url):
        count = IDLE_CONNECTIONS if server.kind == "ours" else PEERS_IDLE_CONNECTIONS
        subject = Subject(process, url, toolbox.load, Path(toolbox.words["ca"]), count)
        return SCENARIOS[name].measure(subject, seconds)


def _perform(
    servers: Sequence[Server], names: Sequence[str], toolbox: Toolbox, options: argparse.Namespace
) -> list[Repeat]:
    repeats: list[Repeat] = []
    for number in range(options.repeats):
        found: dict[tuple[str, str], float] = {}
        for name in random.sample(names, len(names)):
            for server in random.sample(servers, len(servers)):
                if server.transport not in SCENARIOS[name].transports:
                    continue
                try:
                    figure = _measure(server, name, toolbox, options.seconds)
                except (ServerError, LoadError, HandshakeError, OSError, ValueError) as error:
                    say(f"[{number + 1}] {name}: {server.key}: FAILED: {error}")
                    continue
                found[server.key, name] = figure
                say(f"[{number + 1}] {name}: {server.key}: {figure:.1f}")
        repeats.append(found)
    return repeats


def _spread(repeats: Sequence[Repeat], key: str, name: str, base: str = "") -> Spread | None:
    """A figure over the repeats, or its ratio to the base's of the same repeat."""
    values = [
        one[key, name] / (one[base, name] if base else 1)
        for one in repeats
        if (key, name) in one and (not base or (base, name) in one)
    ]
    return Spread.of(values) if values else None


def _targets(repeats: Sequence[Repeat]) -> list[str]:
    lines = ["| target | at most | measured | met |", "|---|---:|---:|---|"]
    for transport, peer, name, most in TARGETS:
        ratio = _spread(repeats, BASES[transport], name, f"{transport}/{peer}")
        if ratio is not None:
            met = "yes" if ratio.median <= most else "**no**"
            text = f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
            lines.append(f"| {transport}, {name}: CPU to {peer} | {most} | {text} | {met} |")
    for name in ("idle", "idle after 64 KiB"):
        spread = _spread(repeats, BASES["tls"], name)
        if spread is not None:
            met = "yes" if spread.median <= IDLE_BYTES_MAX else "**no**"
            bound = f"{IDLE_BYTES_MAX:,.0f}"
            lines.append(f"| tls, {name}: bytes | {bound} | {spread.median:,.0f} | {met} |")
    return lines


def _table(repeats: Sequence[Repeat], servers: Sequence[Server], names: Sequence[str]) -> list[str]:
    titles = [SCENARIOS[name].title for name in names]
    lines = ["| server | " + " | ".join(titles) + " |", "|---|" + "---:|" * len(names)]
    for server in servers:
        cells = []
        for name in names:
            spread = _spread(repeats, server.key, name)
            ratio = _spread(repeats, server.key, name, BASES[server.transport])
            if spread is None or ratio is None:
                cells.append("")
            else:
                cells.append(f"{spread.median:,.1f} ({ratio.median:.2f})")
        lines.append(f"| {server.key} | " + " | ".join(cells) + " |")
    return lines


def main() -> int:
    """Measure, and print the tables; the exit status is 1 if something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benches.tls", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="default 5")
    parser.add_argument("--seconds", type=float, default=1.0, help="of an echo (default 1)")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT")
    parser.add_argument("--scenario", action="append", default=[], choices=list(SCENARIOS))
    parser.add_argument("--load-client", type=Path)
    options = parser.parse_args()
    if not enough_cores() or not open_files(IDLE_CONNECTIONS + 1000):
        say("benches: two cores and 11,000 open files are needed")
        return 2
    texts = options.only or [""]
    chosen = [it for it in TLS_SERVERS if any(text in it.key for text in texts)]
    names = options.scenario or list(SCENARIOS)
    toolbox = provide(chosen, options.load_client)
    for key, reason in toolbox.missing.items():
        say(f"    missing: {key}: {reason}")
    servers = [server for server in chosen if server.key not in toolbox.missing]
    os.sched_setaffinity(0, {LOAD_CORE})
    repeats = _perform(servers, names, toolbox, options)
    print(
        f"{time.strftime('%Y-%m-%d')}; {options.repeats} repeats. Medians, and in brackets the "
        "median of the ratios to ours on io_uring, paired by repeat.\n"
    )
    print("\n".join([*_targets(repeats), "", *_table(repeats, servers, names)]))
    wanted = {
        (server.key, name)
        for server in servers
        for name in names
        if server.transport in SCENARIOS[name].transports
    }
    return 0 if all(wanted <= one.keys() for one in repeats) else 1


if __name__ == "__main__":
    sys.exit(main())
