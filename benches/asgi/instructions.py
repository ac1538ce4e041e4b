"""`python -m benches.asgi.instructions`: instructions that a server spends on each request.

Counted by callgrind, as `benches.instructions` counts those of an echo: the program's own, and not
the kernel's. They do not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benches.asgi.client import Peer, Traffic, length_of_answer
from benches.asgi.scenarios import SCENARIOS
from benches.instructions import CLOSING_SECONDS, counted
from benches.measurement import await_ready, free_port

SERVERS = ("vespiary-uring", "vespiary-epoll")
CONNECTIONS = 10
REQUESTS = {"large": (20, 120), "upload": (2, 12)}
"""Requests on each connection, under the shorter and the longer load."""
USUAL_REQUESTS = (50, 450)
SECONDS_MAX = 180.0
CHECKOUT = Path(__file__).resolve().parents[2]


def ask(port: int, traffic: Traffic, requests: int) -> None:
    """Ask so many times on each connection."""
    length = traffic.answer_bytes or length_of_answer(port, traffic)
    peers = [Peer(port, traffic) for _ in range(CONNECTIONS)]
    for peer in peers:
        peer.socket.setblocking(True)
    for _ in range(requests):
        for peer in peers:
            peer.begin(length)
        for peer in peers:
            while peer.missing:
                data = peer.socket.recv(1 << 18)
                if not data:
                    raise SystemExit("the server has closed a connection")
                peer.missing -= len(data)
    for peer in peers:
        peer.socket.close()


def count(server: str, scenario: str) -> float:
    """Instructions for each request."""
    few, many = REQUESTS.get(scenario, USUAL_REQUESTS)
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "callgrind.out"
        command = [
            *("valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}"),
            *(f"--log-file={profile.with_suffix('.log')}", "--", sys.executable),
            *("-m", "benches.asgi.server", server, SCENARIOS[scenario].app, str(port)),
        ]
        process = subprocess.Popen(
            command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            await_ready(process, port, False, seconds_max=SECONDS_MAX)
            counts = []
            for number, requests in enumerate((few, few, many), start=1):
                ask(port, SCENARIOS[scenario].traffic, requests)
                time.sleep(CLOSING_SECONDS)
                counts.append(counted(process, profile, number))
        finally:
            process.kill()
            process.wait()
    _, shorter, longer = counts
    return (longer - shorter) / (CONNECTIONS * (many - few))


def main(words: Sequence[str] | None = None) -> None:
    """Count, and print."""
    names = [name for name in SCENARIOS if name != "idle"]
    parser = argparse.ArgumentParser(prog="python -m benches.asgi.instructions")
    parser.add_argument("--server", action="append", choices=SERVERS)
    parser.add_argument("--scenario", action="append", choices=names)
    options = parser.parse_args(words)
    for server in options.server or SERVERS:
        for scenario in options.scenario or names:
            each = count(server, scenario)
            print(f"{scenario:10s} {server:15s} {each:10,.0f} instructions a request", flush=True)


if __name__ == "__main__":
    main()
