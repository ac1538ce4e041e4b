"""Measure a broadcast to many WebSocket connections: ours, Bun, websockets and picows, in turns.

    python -m benches.broadcast [--subscribers 9500] [--repeats 5] [--messages 20]

A repeat measures each server once, in a random order, with the server on core 0 and the subscribers
on core 1. The CPU time is that of the server's process from the first message to the last delivery.
The server stamps each message with the moment in which it publishes it. Every delivery is compared.

Then one more subscriber of ours never reads: how soon have the others their messages without and
with it, how many messages did the server drop, and by how much did its memory grow?
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Mapping, Sequence
from statistics import median

from benches import clocks
from benches.broadcast import slow
from benches.broadcast.client import DeliveryError, Subscribers
from benches.catalogue import PUBLISHERS, Server
from benches.measurement import LOAD_CORE, ServerError, running
from benches.provision import Toolbox, provide, say
from benches.session import enough_cores, open_files
from benches.summary import Spread

BYTES = 100
WARM_UP = 3
FIGURES = ("cpu_us", "first_us", "last_ms")
OURS = "ws/vespiary, publish, uring"
BOUNDS = (("ws/Bun, publish", 0.75), ("ws/websockets on uvloop, broadcast", 0.45))
"""The most that a delivery of ours may cost, to these servers."""
FIRST_US_MAX = 1000.0

Repeat = Mapping[str, Mapping[str, float]]


def _measure(server: Server, toolbox: Toolbox, count: int, messages: int) -> dict[str, float]:
    with running(server, toolbox) as (process, url):
        port = int(url.rsplit(":", 1)[1].rstrip("/"))
        with Subscribers(port, count) as subscribers:
            for _ in range(WARM_UP):
                subscribers.publish(BYTES)
            processes = clocks.family(process)
            before = sum(clocks.cpu_nanoseconds(one) for one in processes)
            deliveries = [subscribers.publish(BYTES) for _ in range(messages)]
            used = sum(clocks.cpu_nanoseconds(one) for one in processes) - before
    return {
        "cpu_us": used / 1000 / messages / count,
        "first_us": median(one.first for one in deliveries) * 1e6,
        "last_ms": median(one.last for one in deliveries) * 1e3,
    }


def _perform(
    servers: Sequence[Server], toolbox: Toolbox, options: argparse.Namespace
) -> list[Repeat]:
    repeats: list[Repeat] = []
    for number in range(options.repeats):
        found: dict[str, Mapping[str, float]] = {}
        for server in random.sample(servers, len(servers)):
            try:
                figures = _measure(server, toolbox, options.subscribers, options.messages)
            except (ServerError, DeliveryError, OSError) as error:
                say(f"[{number + 1}] {server.key}: FAILED: {error}")
                continue
            found[server.key] = figures
            told = ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
            say(f"[{number + 1}] {server.key}: {told}")
        repeats.append(found)
    return repeats


def _spread(repeats: Sequence[Repeat], key: str, figure: str) -> Spread | None:
    values = [one[key][figure] for one in repeats if key in one]
    return Spread.of(values) if values else None


def _ratio(repeats: Sequence[Repeat], key: str, base: str) -> Spread | None:
    pairs = [
        one[key]["cpu_us"] / one[base]["cpu_us"] for one in repeats if key in one and base in one
    ]
    return Spread.of(pairs) if pairs else None


def _table(repeats: Sequence[Repeat], servers: Sequence[Server]) -> list[str]:
    lines = [
        "| server | CPU us per delivery | ratio | first has it, us | last has it, ms |",
        "|---|---:|---:|---:|---:|",
    ]
    for server in servers:
        cells = [_spread(repeats, server.key, figure) for figure in FIGURES]
        ratio = _ratio(repeats, server.key, OURS)
        if ratio is None or any(cell is None for cell in cells):
            continue
        cpu, first, last = (cell.median for cell in cells if cell is not None)
        lines.append(
            f"| {server.name} | **{cpu:.2f}** | {ratio.median:.2f} ({ratio.low:.2f} to "
            f"{ratio.high:.2f}) | {first:,.0f} | {last:.1f} |"
        )
    return lines


def _targets(repeats: Sequence[Repeat]) -> list[str]:
    lines = ["| target | at most | measured | met |", "|---|---:|---:|---|"]
    for base, most in BOUNDS:
        ratio = _ratio(repeats, OURS, base)
        if ratio is not None:
            met = "yes" if ratio.median <= most else "**no**"
            text = f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
            name = base.partition("/")[2]
            lines.append(f"| CPU per delivery, to {name} | {most} | {text} | {met} |")
    first = _spread(repeats, OURS, "first_us")
    if first is not None:
        met = "yes" if first.median <= FIRST_US_MAX else "**no**"
        lines.append(f"| first delivery, us | {FIRST_US_MAX:,.0f} | {first.median:,.0f} | {met} |")
    return lines


def main() -> int:
    """Measure, and print the tables; the exit status is 1 if a server could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benches.broadcast", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=9500, help="default 9,500")
    parser.add_argument("--repeats", type=int, default=5, help="default 5")
    parser.add_argument("--messages", type=int, default=20, help="in a repeat (default 20)")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT")
    options = parser.parse_args()
    if not enough_cores():
        say("benches: server and subscribers need a core each, and only one is allowed")
        return 2
    if not open_files(options.subscribers + 1000):
        say("benches: too few open files allowed; raise `ulimit -Hn`")
        return 2
    texts = options.only or [""]
    chosen = [it for it in PUBLISHERS if any(text in it.key for text in texts)]
    toolbox = provide(chosen, load=None, wants_load=False)
    for key, reason in toolbox.missing.items():
        say(f"    missing: {key}: {reason}")
    servers = [server for server in chosen if server.key not in toolbox.missing]
    os.sched_setaffinity(0, {LOAD_CORE})
    repeats = _perform(servers, toolbox, options)
    print(
        f"{time.strftime('%Y-%m-%d')}; {BYTES} B to {options.subscribers:,} subscribers, "
        f"{options.repeats} repeats of {options.messages} messages. Medians; ratios are paired by "
        "repeat, with their quartiles.\n"
    )
    print("\n".join([*_targets(repeats), "", *_table(repeats, servers), ""]))
    ours = [server for server in servers if server.kind == "ours"]
    print("\n".join(slow.table(ours, toolbox)))
    return 0 if all(server.key in one for one in repeats for server in servers) else 1


if __name__ == "__main__":
    sys.exit(main())
