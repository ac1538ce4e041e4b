"""Open long-lived connections to a server with workers, and count how many each worker gets.

    python -m benches.workers
    python -m benches.workers --connections 10000 --workers 4 --driver epoll

Two patterns: in the *burst*, up to 500 connections are being opened at any moment, as when all
clients of a server that has restarted come back; the *steady* one opens them one after the other,
at most 4,000 per second. The result is the worst worker's share and the best one's, and their ratio
(1.00 is perfectly even). It takes about a minute and a half.
"""

from __future__ import annotations

import argparse
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

WAYS = ("balanced", "queue", "reuse_port")
PATTERNS = ("burst", "steady")
IN_FLIGHT_MAX = 500
STEADY_SECONDS = 1 / 4000
PATIENCE_SECONDS = 60.0


def start(way: str, driver: str, workers: int, port: int) -> list[subprocess.Popen[str]]:
    """The processes of a server, serving."""
    server = str(Path(__file__).with_name("server.py"))
    command = [sys.executable, server, way, driver, str(workers), str(port)]
    count = workers if way == "reuse_port" else 1
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(count)]
    for process in processes:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        if not any("Serving" in line for line in lines):
            raise SystemExit(f"{way} does not start")
    return processes


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class Clients:
    """Connections, and the process that has each of them."""

    def __init__(self, port: int, count: int, in_flight_max: int, pause_seconds: float) -> None:
        self._address = ("127.0.0.1", port)
        self._count, self._in_flight_max = count, in_flight_max
        self._pause_seconds = pause_seconds
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self.shares: Counter[bytes] = Counter()

    def run(self) -> None:
        """Open all of them, and read who has each."""
        end = time.monotonic() + PATIENCE_SECONDS
        next_at = time.monotonic()
        while self.shares.total() < self._count:
            if time.monotonic() > end:
                raise SystemExit(f"only {self.shares.total()} connections were accepted")
            while self._may_open() and time.monotonic() >= next_at:
                next_at += self._pause_seconds
                self._open()
            for key, _ in self._selector.select(0.001):
                self._read(key.fileobj)

    def _may_open(self) -> bool:
        opened = len(self._sockets)
        return opened < self._count and opened - self.shares.total() < self._in_flight_max

    def _open(self) -> None:
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(self._address)
        self._sockets.append(one)
        self._selector.register(one, selectors.EVENT_READ)

    def _read(self, one: object) -> None:
        assert isinstance(one, socket.socket)
        self.shares[one.recv(100)] += 1
        self._selector.unregister(one)

    def close(self) -> None:
        """Reset all of them, so that no TIME_WAIT stays."""
        for one in self._sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            one.close()
        self._selector.close()


def measure(way: str, driver: str, pattern: str, options: argparse.Namespace) -> str:
    """A row of the table."""
    port = free_port()
    processes = start(way, driver, options.workers, port)
    in_flight_max, pause = (IN_FLIGHT_MAX, 0.0) if pattern == "burst" else (1, STEADY_SECONDS)
    clients = Clients(port, options.connections, in_flight_max, pause)
    began = time.monotonic()
    try:
        clients.run()
        seconds = time.monotonic() - began
    finally:
        clients.close()
        for process in processes:
            process.terminate()
        for process in processes:
            process.communicate()
    shares = sorted(clients.shares.values())
    shares = [0] * (options.workers - len(shares)) + shares
    ratio = f"{shares[-1] / shares[0]:.2f}" if shares[0] else "-"
    return (
        f"| {way} | {driver} | {pattern} | {shares[0]} | {shares[-1]} | {ratio} | {seconds:.1f} |"
    )


def main() -> None:
    """Measure all ways, drivers and patterns, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benches.workers", description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--driver", choices=["uring", "epoll"], action="append")
    parser.add_argument("--way", choices=WAYS, action="append")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print("| way | driver | pattern | worst | best | ratio | seconds |")
    print("|---|---|---|---|---|---|---|")
    for driver in options.driver or ["uring", "epoll"]:
        for way in options.way or WAYS:
            for pattern in PATTERNS:
                print(measure(way, driver, pattern, options), flush=True)


if __name__ == "__main__":
    main()
