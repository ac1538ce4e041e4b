"""Measure the CPU time per request of ASGI and WSGI servers, side by side.

    python -m benches.asgi
    python -m benches.asgi --repeats 3 --scenario small --server vespiary-uring --server granian

Each repeat measures every server in every scenario, in a random order; the figure is the median of
the repeats. The server runs on core 0 and the client on core 1. uvicorn, uvloop, httptools and
granian must be installed; what is not is left out.
"""

from __future__ import annotations

import argparse
import random
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benches.asgi.client import exchange
from benches.clocks import cpu_nanoseconds, family

SERVERS = ("vespiary-uring", "vespiary-epoll", "uvicorn", "granian")
SCENARIOS = ("small", "large", "starlette", "fastapi", "wsgi")
CHECKOUT = Path(__file__).resolve().parents[2]


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


def measure(server: str, scenario: str, seconds: float, connections: int) -> float | None:
    """Microseconds of CPU time per request; None where the server does not start."""
    port = free_port()
    command = ["taskset", "-c", "0", sys.executable, "-m", "benches.asgi.server"]
    process = subprocess.Popen(
        [*command, server, scenario, str(port)],
        cwd=CHECKOUT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        if not wait_serving(port, process):
            return None
        exchange(port, connections, seconds / 4)
        processes = family(process.pid)
        before = cpu(processes)
        count = exchange(port, connections, seconds)
        return (cpu(processes) - before) / count / 1000
    finally:
        process.terminate()
        process.wait()


def table(found: dict[tuple[str, str], list[float]], options: argparse.Namespace) -> str:
    """The result, in Markdown."""
    lines = [
        "| scenario | " + " | ".join(options.server) + " |",
        "|---|" + "---:|" * len(options.server),
    ]
    for scenario in options.scenario:
        figures = [found.get((server, scenario), []) for server in options.server]
        cells = [f"{statistics.median(values):.1f}" if values else "-" for values in figures]
        lines.append(f"| {scenario} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print a table of microseconds per request."""
    parser = argparse.ArgumentParser(prog="python -m benches.asgi", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--server", action="append", choices=SERVERS)
    parser.add_argument("--scenario", action="append", choices=SCENARIOS)
    options = parser.parse_args()
    options.server = options.server or list(SERVERS)
    options.scenario = options.scenario or list(SCENARIOS)
    found: dict[tuple[str, str], list[float]] = {}
    for repeat in range(options.repeats):
        pairs = [(server, scenario) for server in options.server for scenario in options.scenario]
        random.shuffle(pairs)
        for server, scenario in pairs:
            figure = measure(server, scenario, options.seconds, options.connections)
            if figure is not None:
                found.setdefault((server, scenario), []).append(figure)
        print(f"repeat {repeat + 1} of {options.repeats}", file=sys.stderr, flush=True)
    print("Microseconds of the server's CPU time per request, medians:\n")
    print(table(found, options))


if __name__ == "__main__":
    main()
