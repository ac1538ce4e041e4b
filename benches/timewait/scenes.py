"""The measurements, each in a network namespace of its own, which the caller makes."""

import contextlib
import json
import os
import random
import selectors
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.timewait.traffic import ADDRESS, close_in_order, from_ss, listener, pair, settings
from vespiary.prove.timewait import Monitor, own_namespace
from vespiary.prove.timewait.recording import Recorder
from vespiary.prove.timewait.states import NUMBERS

SOCKETS = 50_000
CLOSES = 10_000
WORKERS = 20
RATE = 300
HALF = 14_116
OF_SS = {"TIME-WAIT": "time_wait", "LISTEN": "listen", "ESTAB": "established"}
assert set(OF_SS.values()) <= set(NUMBERS)


def watching(owners: str, *, sockets: bool = True) -> Monitor:
    """A monitor of this namespace."""
    return Monitor(lambda: [own_namespace()], owners=owners, sockets=sockets)


def dump(remotes: int) -> dict[str, Any]:
    """Look at 50,000 sockets in TIME_WAIT, of so many remotes; beside `ss` and /proc/net/tcp."""
    settings(ip_local_port_range="1024 65000")
    server = listener("0.0.0.0", 9)
    for index in range(SOCKETS):
        client = socket.socket()
        host = index % remotes
        client.bind((f"127.{1 + host // 60_000}.{host // 250 % 240}.{1 + host % 250}", 0))
        client.connect(("127.0.0.1", 9))
        close_in_order(server.accept()[0], client)
    looks, used, states, namespace = [], [], {}, None
    _hurry()
    with watching("polling", sockets=False) as monitor:
        for _ in range(15):
            report = monitor.report()
            looks.append(report["cost_milliseconds"]["total"])
            used.append(report["cost_milliseconds"]["processor"])
            states, (namespace,) = report["states"], report["namespaces"]
    assert namespace is not None
    by_ss = from_ss()
    return {
        "remotes": remotes,
        "sockets": states["time_wait"],
        "first_ms": looks[0],
        "median_ms": statistics.median(looks),
        "best_ms": min(looks),
        "processor_ms": statistics.median(used),
        "ss_ms": _elapsed(lambda: subprocess.run(["ss", "-Htan"], capture_output=True, check=True)),
        "proc_ms": _elapsed(lambda: Path("/proc/net/tcp").read_bytes()),
        "agrees_with_ss": by_ss
        == {key: states[name] for key, name in OF_SS.items() if states[name]},
        "agrees_with_kernel": namespace["sockstat"]["tw"]
        == states["time_wait"] + namespace["orphaned_fin_wait2"],
    }


def _hurry() -> None:
    """Keep other programs from being measured, where that is allowed."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def _elapsed(what: Any) -> float:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        what()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


@contextlib.contextmanager
def _server() -> Iterator[None]:
    """A process that closes each connection after its client did."""
    server = listener(ADDRESS, 9)
    pid = os.fork()
    if pid == 0:
        _serve(server)
    server.close()
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _serve(server: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is server:
                    accepted = server.accept()[0]
                    selector.register(accepted, selectors.EVENT_READ)
                else:
                    ended = key.fileobj
                    assert isinstance(ended, socket.socket)
                    selector.unregister(ended)
                    ended.close()


def closers(owners: str, interval: float, held_seconds: float) -> dict[str, Any]:
    """10,000 connections, closed by 20 processes: whose each is, and how many are stated as known.

    Args:
        owners: `tracepoint` or `polling`.
        interval: Seconds between two looks.
        held_seconds: The longest time for which a connection stays open; each has a random one.
    """
    settings(ip_local_port_range="1024 65000")
    with _server(), watching(owners) as monitor:
        monitor.report()
        pipes = [_worker(CLOSES // WORKERS, held_seconds, seed) for seed in range(WORKERS)]
        truth: dict[int, int] = {}
        running = dict(pipes)
        while running:
            monitor.wait(interval)
            monitor.report()
            for pid in list(running):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    with os.fdopen(running.pop(pid)) as pipe:
                        truth |= dict.fromkeys(json.load(pipe), pid)
        monitor.wait(interval)
        report = monitor.report()
    rows = [row for row in report["sockets"] if row["state"] == "time_wait"]
    owned = [row for row in rows if row["known_by"] in ("tracepoint", "polling")]
    right = sum(truth.get(row["local_port"]) == row["pid"] for row in owned)
    known = report["attribution"]
    return {
        "owners": owners,
        "interval": interval,
        "held_seconds": held_seconds,
        "closes": len(truth),
        "time_wait": len(rows),
        "right": right,
        "wrong": len(owned) - right,
        "share_right": right / len(rows),
        "coverage_stated": known["coverage"],
        "lost_events": known["lost_events"],
        "processor_share": report["cost_milliseconds"]["processor_share"],
    }


def _worker(count: int, held_seconds: float, seed: int) -> tuple[int, int]:
    """Fork a client; its number, and a pipe that has its local ports when it has ended."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    chance = random.Random(seed)
    ports = []
    for _ in range(count):
        with socket.socket() as client:
            client.connect((ADDRESS, 9))
            ports.append(client.getsockname()[1])
            if held_seconds:
                time.sleep(chance.random() * held_seconds)
    # All of it fits into the pipe's 64 KiB, so nobody needs to read meanwhile.
    os.write(writing, json.dumps(ports).encode())
    os._exit(0)


def forecast(recording: Path) -> dict[str, Any]:
    """A client that opens and closes 300 connections per second, until connecting gets slow.

    Args:
        recording: Where every second report goes.
    """
    server = listener(ADDRESS, 9)
    began = time.monotonic()
    warned = predicted = cliff = None
    fast: list[float] = []
    slow: list[float] = []
    made = 0
    recording.unlink(missing_ok=True)
    with watching("polling", sockets=False) as monitor, Recorder(recording) as record:
        looks = 0
        while time.monotonic() - began < 75 and len(slow) < 200:
            connecting = time.perf_counter()
            client, accepted = pair(server)
            latency = (time.perf_counter() - connecting) * 1e6
            (fast if made < HALF else slow).append(latency)
            close_in_order(client, accepted)
            made += 1
            if made == HALF:
                cliff = time.monotonic() - began
            if time.monotonic() - began >= looks:
                looks += 1
                report = monitor.report()
                if looks % 2:
                    record(report)
                soonest = [it for it in report["forecasts"] if it["kind"] == "cliff"]
                if soonest and warned is None:
                    warned = time.monotonic() - began
                    predicted = warned + soonest[0]["seconds"]
            time.sleep(max(0.0, began + made / RATE - time.monotonic()))
    return {
        "rate": RATE,
        "warned_seconds": warned,
        "predicted_seconds": predicted,
        "cliff_seconds": cliff,
        "ahead_seconds": cliff - warned if cliff and warned else None,
        "connect_before_us": statistics.median(fast[-2000:]),
        "connect_after_us": statistics.median(slow) if slow else None,
    }
