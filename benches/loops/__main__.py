"""Measure the CPU time of asyncio's libraries for each message, on several loops side by side.

    python -m benches.loops [--kind Protocol] [--slices 20] [--rounds 200]

For each kind of server, one process for each loop runs at the same time, and they take turns: a
slice of messages for one, then the next, in an order that changes. So what else the machine does
meets all of them. The CPU time is the server process's own, user and kernel. A ratio is the median
of the slices' ratios to uvloop's slice of the same turn.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from benches.loops.client import Client
from benches.loops.server import KINDS, LOOPS

REFERENCE = "uvloop"


@dataclass
class Running:
    """A server that runs, with its client."""

    loop: str
    process: subprocess.Popen[str]
    client: Client
    microseconds: list[float] = field(default_factory=list)

    def cpu_seconds(self) -> float:
        """CPU time of the process until now: see clock_getcpuclockid(3)."""
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def measure(self, rounds: int) -> None:
        """Exchange messages, and note the CPU time of each."""
        before = self.cpu_seconds()
        messages = self.client.exchange(rounds)
        self.microseconds.append((self.cpu_seconds() - before) / messages * 1e6)


@contextlib.contextmanager
def _serving(kind: str, loop: str, connections: int, size: int) -> Iterator[Running]:
    command = [sys.executable, "-m", "benches.loops.server", kind, loop]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        port = int(process.stdout.readline())
        with Client(kind, port, connections, size) as client:
            yield Running(loop, process, client)
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _measure(kind: str, options: argparse.Namespace) -> list[Running]:
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(_serving(kind, loop, options.connections, options.size))
            for loop in options.loop or LOOPS
        ]
        for server in servers:
            server.client.exchange(options.rounds // 2 + 1)
        for _ in range(options.slices):
            for server in random.sample(servers, len(servers)):
                server.measure(options.rounds)
        return servers


def _row(kind: str, servers: list[Running]) -> str:
    base = next(server for server in servers if server.loop == REFERENCE)
    cells = []
    for server in servers:
        pairs = zip(server.microseconds, base.microseconds, strict=True)
        ratio = statistics.median(mine / other for mine, other in pairs)
        cells.append(f"{statistics.median(server.microseconds):.1f} ({ratio:.2f})")
    return f"| {kind} | " + " | ".join(cells) + " |"


def main() -> None:
    """Measure what was asked for, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benches.loops", description=__doc__)
    parser.add_argument("--kind", action="append", choices=KINDS, help="default: all")
    parser.add_argument("--loop", action="append", choices=LOOPS, help="default: all")
    parser.add_argument("--slices", type=int, default=20, help="of each server (default 20)")
    parser.add_argument("--rounds", type=int, default=200, help="in a slice (default 200)")
    parser.add_argument("--connections", type=int, default=10, help="default 10")
    parser.add_argument("--size", type=int, default=64, help="bytes of a message (default 64)")
    options = parser.parse_args()
    if options.loop and REFERENCE not in options.loop:
        options.loop.append(REFERENCE)
    loops = options.loop or list(LOOPS)
    print("| µs of CPU per message (ratio to uvloop) | " + " | ".join(loops) + " |")
    print("|---|" + "---|" * len(loops), flush=True)
    for kind in options.kind or KINDS:
        print(_row(kind, _measure(kind, options)), flush=True)


if __name__ == "__main__":
    main()
