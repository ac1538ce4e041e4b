"""Measure the CPU time per request of ASGI and WSGI servers, side by side.

    python -m benches.asgi
    python -m benches.asgi --repeats 3 --scenario small --server vespiary-uring --server granian
    python -m benches.asgi --client wrk --scenario small --scenario large

Each repeat measures every server in every scenario, in a random order; the figure is the median of
the repeats, and a ratio is the median of the ratios within a repeat. The server runs on core 0 and
the client on core 1. uvicorn, uvloop, httptools and granian must be installed; what is not is left
out. The scenario `idle` measures memory instead: resident bytes per keep-alive connection.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benches.asgi.client import CLIENTS, exchange_by, idle
from benches.asgi.scenarios import SCENARIOS
from benches.clocks import cpu_nanoseconds, family, resident_bytes

NOT_MEASURED = (("uvicorn", "wsgi"),)
"""uvicorn's own adapter for WSGI is deprecated, and closes connections now and then."""

OURS = ("vespiary-uring", "vespiary-epoll")
PEERS = ("uvicorn", "granian")
SERVERS = (*OURS, *PEERS)
CHECKOUT = Path(__file__).resolve().parents[2]
IDLE_CONNECTIONS = 4000

Figures = dict[tuple[str, str], list[float | None]]
"""What each repeat has measured, by server and scenario; None where a server did not start."""


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def wait_serving(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait until a server accepts; whether it does."""
    end = time.monotonic() + 20
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def cpu(processes: list[int]) -> int:
    """The CPU time of processes, in nanoseconds."""
    return sum(cpu_nanoseconds(process) for process in processes)


@contextlib.contextmanager
def started(server: str, scenario: str) -> Iterator[tuple[int, list[int]] | None]:
    """Run a server; its port and its processes, or None where it does not start."""
    port = free_port()
    command = ["taskset", "-c", "0", sys.executable, "-m", "benches.asgi.server"]
    process = subprocess.Popen(
        [*command, server, SCENARIOS[scenario].app, str(port)],
        cwd=CHECKOUT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        is_serving = wait_serving(port, process)
        yield (port, family(process.pid)) if is_serving else None
    finally:
        process.terminate()
        process.wait()


def measure(server: str, scenario: str, options: argparse.Namespace) -> float | None:
    """Microseconds of CPU time per request, or bytes per connection; None without a server."""
    traffic = SCENARIOS[scenario].traffic
    if (server, scenario) in NOT_MEASURED:
        return None
    with started(server, scenario) as running:
        if running is None:
            return None
        port, processes = running
        if scenario == "idle":
            for client in idle(port, traffic, IDLE_CONNECTIONS // 4):
                client.close()
            before = resident_bytes(processes)
            opened = idle(port, traffic, IDLE_CONNECTIONS)
            # Less what the first ones had left for them.
            grown = resident_bytes(processes) - before
            for client in opened:
                client.close()
            return grown / (IDLE_CONNECTIONS - IDLE_CONNECTIONS // 4)
        client = options.client
        exchange_by(client, port, traffic, options.seconds / 4)
        before = cpu(processes)
        count = exchange_by(client, port, traffic, options.seconds)
        return (cpu(processes) - before) / count / 1000


def ratio(found: Figures, scenario: str, ours: str, peers: list[str]) -> float | None:
    """The median, over the repeats, of our figure divided by that of the best of some peers."""
    ratios = []
    for repeat, own in enumerate(found[ours, scenario]):
        others = [found[peer, scenario][repeat] for peer in peers if (peer, scenario) in found]
        measured = [one for one in others if one]
        if own is not None and measured:
            ratios.append(own / min(measured))
    return statistics.median(ratios) if ratios else None


def bounds_of(found: Figures, scenario: str, ours: str) -> str:
    """The ratios that are to keep below a bound, in words."""
    texts = []
    for peer, bound in SCENARIOS[scenario].bounds.items():
        value = ratio(found, scenario, ours, list(PEERS) if peer == "best" else [peer])
        if value is not None:
            verdict = "" if value <= bound else ", **over**"
            texts.append(f"{value:.2f} of {peer} (at most {bound}{verdict})")
    return "; ".join(texts)


def table(found: Figures, options: argparse.Namespace) -> str:
    """The result, in Markdown."""
    ours = [server for server in options.server if server in OURS]
    lines = [
        "| scenario | "
        + " | ".join([*options.server, *(f"ratio of {one}" for one in ours)])
        + " |",
        "|---|" + "---:|" * len(options.server) + "---|" * len(ours),
    ]
    for scenario in options.scenario:
        cells = []
        for server in options.server:
            values = [one for one in found[server, scenario] if one is not None]
            cells.append(f"{statistics.median(values):,.1f}" if values else "-")
        cells += [bounds_of(found, scenario, server) for server in ours]
        lines.append(f"| {scenario} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print a table of microseconds per request."""
    parser = argparse.ArgumentParser(prog="python -m benches.asgi", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--client", choices=CLIENTS, default="own")
    parser.add_argument("--server", action="append", choices=SERVERS)
    parser.add_argument("--scenario", action="append", choices=SCENARIOS)
    options = parser.parse_args()
    options.server = options.server or list(SERVERS)
    options.scenario = options.scenario or list(SCENARIOS)
    if options.client != "own" and not set(options.scenario) <= {"small", "large", "wsgi"}:
        parser.error(f"{options.client} measures the scenarios small, large and wsgi only")
    found: Figures = {}
    for repeat in range(options.repeats):
        pairs = [(server, scenario) for server in options.server for scenario in options.scenario]
        random.shuffle(pairs)
        for server, scenario in pairs:
            figure = measure(server, scenario, options)
            found.setdefault((server, scenario), []).append(figure)
        print(f"repeat {repeat + 1} of {options.repeats}", file=sys.stderr, flush=True)
    print("Microseconds of the server's CPU time per request (idle: bytes per connection):\n")
    print(table(found, options))


if __name__ == "__main__":
    main()
