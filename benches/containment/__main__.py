"""Let a plug-in and a worker fail in every way, and count what others notice.

    python -m benches.containment
    python -m benches.containment --kind process --driver epoll --fault hang --fault leak

The plug-in runs in a process of its own (`host = "process"`), or in one of two workers. Healthy
connections, of another endpoint or of the other worker, echo a message every 20 ms meanwhile. Per
fault the table has: how many connections the fault has closed, and how many healthy ones (0); the
slowest echo of a healthy one; when the log reported the fault; when a new connection was served
again; and how many processes that the plug-in has started were left. After `exit`, the process
serves its connections to the end of their drain (5 s), and then another one starts.

A process that a worker has started outlives it, as with any server; what a process of a plug-in has
started is killed with it. The exit status is 1 if a healthy connection was closed, or if a process
of a plug-in has left one. It takes two minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benches.containment.server import Server

KINDS = ("process", "workers")
DRIVERS = ("uring", "epoll")
REPORTS = {
    "SIGKILL": r"killed by SIGKILL",
    "leave": r"with status 3",
    "exit": r"SystemExit|with status 3",
    "crash": r"killed by SIGSEGV",
    "hang": r"Killing ",
    "leak": r"memory_bytes_max",
    "raise": r"RuntimeError: asked for",
    "fork": r"with status 3",
}
"""The faults, and what the log says about each."""
SURVIVED = ("raise",)
"""Faults that end only the connection on which they happen."""
NEIGHBORS = 10
HEALTHY = 10
PAUSE_SECONDS = 0.02


@dataclass
class Row:
    """What happened.

    Attributes:
        closed: Connections of the faulty process that were closed, of `NEIGHBORS` + 1.
        healthy_closed: Other connections that were.
        slowest: The slowest echo of a healthy connection, in seconds.
        reported: When the log had the fault, in seconds after it.
        served: When a new connection was served, in seconds after the fault.
        left: Processes that were left.
    """

    closed: int
    healthy_closed: int
    slowest: float
    reported: float
    served: float
    left: int


class Client:
    """A connection that sends lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Client:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, text: str) -> str:
        """Send a line, and return the answer.

        Raises:
            ConnectionError: the connection has ended.
        """
        self.writer.write(text.encode() + b"\n")
        line = await self.reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError
        return line.decode().strip()

    async def ended(self) -> bool:
        """Whether it has ended within the time in which one that fails does."""
        with contextlib.suppress(ConnectionError):
            return await self.reader.read(1) == b""
        return True

    def close(self) -> None:
        """Reset it."""
        self.writer.transport.abort()


class Healthy:
    """Connections that echo until they are closed."""

    def __init__(self, clients: list[Client]) -> None:
        self.clients = clients
        self.closed, self.slowest = 0, 0.0
        self._tasks = [asyncio.ensure_future(self._echo(one)) for one in clients]

    async def _echo(self, client: Client) -> None:
        while True:
            asked = time.monotonic()
            try:
                await client.ask("pid")
            except ConnectionError:
                self.closed += 1
                return
            self.slowest = max(self.slowest, time.monotonic() - asked)
            await asyncio.sleep(PAUSE_SECONDS)

    async def stop(self) -> None:
        """End all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in self.clients:
            one.close()


async def _gather(server: Server, kind: str) -> tuple[list[Client], list[Client], int]:
    """Connections with one process that will fail, healthy ones, and the number of the process."""
    bad, good = server.ports[-1], server.ports[0]
    victims: list[Client] = []
    healthy: list[Client] = []
    if kind == "process":
        victims += [await Client.open(bad) for _ in range(NEIGHBORS + 1)]
        healthy += [await Client.open(good) for _ in range(HEALTHY)]
        return victims, healthy, int(await victims[0].ask("pid"))
    process: int | None = None
    while len(victims) <= NEIGHBORS or len(healthy) < HEALTHY:
        client = await Client.open(bad)
        found = int(await client.ask("pid"))
        process = found if process is None else process
        mine, wanted = (victims, NEIGHBORS + 1) if found == process else (healthy, HEALTHY)
        if len(mine) < wanted:
            mine.append(client)
        else:
            client.close()
    assert process is not None
    return victims, healthy, process


async def _served(port: int, process: int, *, is_survived: bool) -> None:
    """Wait until a connection is served: by another process, unless the fault is survived."""
    while True:
        with contextlib.suppress(ConnectionError):
            client = await Client.open(port)
            try:
                found = int(await asyncio.wait_for(client.ask("pid"), 30))
            except TimeoutError:
                continue
            finally:
                client.close()
            if is_survived or found != process:
                return
        await asyncio.sleep(0.01)


async def fail(server: Server, kind: str, fault: str) -> Row:
    """Cause a fault, and wait until the server has recovered from it."""
    victims, others, process = await _gather(server, kind)
    healthy = Healthy(others)
    await asyncio.sleep(0.1)
    began = time.monotonic()
    if fault == "SIGKILL":
        os.kill(process, signal.SIGKILL)
    else:
        victims[0].writer.write(fault.encode() + b"\n")
    is_survived = fault in SURVIVED
    ending = [asyncio.ensure_future(one.ended()) for one in victims]
    # Those that end do so with their process; of the others one was asked to fail.
    await asyncio.wait(ending[:1] if is_survived else ending, timeout=60)
    await _served(server.ports[-1], process, is_survived=is_survived)
    served = time.monotonic() - began
    if kind == "workers" and not is_survived:
        back = await asyncio.to_thread(server.wait_for, "is back, as process", began)
        served = max(served, back - began)
    reported = await asyncio.to_thread(server.wait_for, REPORTS[fault], began)
    closed = sum(one.done() and not one.cancelled() and one.result() for one in ending)
    await healthy.stop()
    for task in ending:
        task.cancel()
    for one in victims:
        one.close()
    left = 0
    if fault == "fork":
        child = int((server.folder / "child").read_text())
        left = int(await asyncio.to_thread(_is_left, child))
    return Row(closed, healthy.closed, healthy.slowest, reported - began, served, left)


def _is_left(process: int) -> bool:
    """Whether a process is still there after a second."""
    end = time.monotonic() + 1
    while time.monotonic() < end:
        if not Path(f"/proc/{process}").exists():
            return False
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    return True


def main() -> int:
    """Print a table; the exit status is 1 if a healthy connection has noticed a fault."""
    parser = argparse.ArgumentParser(prog="python -m benches.containment", description=__doc__)
    parser.add_argument("--kind", choices=KINDS, action="append", help="default: both")
    parser.add_argument("--driver", choices=DRIVERS, action="append", help="default: both")
    parser.add_argument("--fault", choices=REPORTS, action="append", help="default: all")
    given = parser.parse_args()
    print(
        "| in | driver | fault | closed | healthy closed | slowest echo | reported | served again"
        " | processes left |\n|---|---|---|---|---|---|---|---|---|"
    )
    is_clean = True
    for kind in given.kind or KINDS:
        for driver in given.driver or DRIVERS:
            with tempfile.TemporaryDirectory() as folder:
                server = Server(Path(folder), kind, driver)
                try:
                    for fault in given.fault or REPORTS:
                        row = asyncio.run(fail(server, kind, fault))
                        where = "process" if kind == "process" else "worker"
                        print(
                            f"| {where} | {driver} | {fault} | {row.closed} of {NEIGHBORS + 1} |"
                            f" {row.healthy_closed} of {HEALTHY} | {row.slowest * 1000:.0f} ms |"
                            f" {row.reported:.2f} s | {row.served:.2f} s | {row.left} |",
                            flush=True,
                        )
                        is_clean &= not row.healthy_closed
                        is_clean &= kind == "workers" or not row.left
                finally:
                    is_clean &= server.stop() == 0
    return 0 if is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
