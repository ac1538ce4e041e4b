"""Reload or upgrade `vespiary run` again and again under load, and count what its clients notice.

    python -m benches.reloads
    python -m benches.reloads --count 50 --connections 1000 --workers 2 --way upgrade --driver epoll

Long-lived WebSocket connections send a message per second each and compare its echo. When one is
closed, it opens again. Beside them `vespiary load` runs again and again, with new connections each
time, and compares every echo. The figures: connects that were refused, echoes that were wrong,
connections that were closed before the drain of their server was over, and runs of the load that
failed; all of them should be 0. It takes about twenty minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import vespiary
from benches.reloads.server import Server

DESCRIPTORS = 16000
DRIVERS = ("uring", "epoll")
DRAIN_SECONDS = 8.0
CLOSE_SECONDS = DRAIN_SECONDS / 4
"""The last quarter of the drain is for the close frames."""
SWITCH_SECONDS = 1.0
"""For so long after the log says that the new server serves, old workers may still accept."""
FAULTS = ("refused", "reset", "closed", "lost", "altered", "reordered", "duplicated")
LOAD = ["--connections", "100", "--rate", "2000", "--duration", "2s", "--json", "-"]


@dataclass
class Figures:
    """What the clients have noticed.

    Attributes:
        echoes: Messages that came back as they were.
        altered: Those that did not.
        refused: Connects that failed, by the error.
        ended: When a connection was opened, when it ended, and its close code.
        load_runs: Runs of `vespiary load`.
        load_failures: What the failed ones have printed.
        load_messages: Messages that the load has sent and compared.
        switches: When each reload was asked for, and when it was complete.
    """

    echoes: int = 0
    altered: int = 0
    refused: list[str] = field(default_factory=list)
    ended: list[tuple[float, float, int | None]] = field(default_factory=list)
    load_runs: int = 0
    load_failures: list[str] = field(default_factory=list)
    load_messages: int = 0
    switches: list[tuple[float, float]] = field(default_factory=list)

    @property
    def drains(self) -> list[float]:
        """How long each connection lived after the reload that ended it was asked for.

        The drain begins when the new server serves, at most a moment later. Of a connection that
        was opened during a switch, it is not known which server had it.
        """
        found = []
        for opened, ended, _ in self.ended:
            begun = min((asked for asked, _ in self.switches if asked > opened), default=math.nan)
            is_known = not any(
                asked <= opened <= done + SWITCH_SECONDS for asked, done in self.switches
            )
            if is_known:
                found.append(ended - begun)
        return found

    @property
    def early(self) -> int:
        """Connections that were closed before their drain was over, or in another way."""
        least = DRAIN_SECONDS - CLOSE_SECONDS
        broken = sum(code != vespiary.CloseCode.GOING_AWAY for _, _, code in self.ended)
        return broken + sum(seconds < least for seconds in self.drains)

    @property
    def is_clean(self) -> bool:
        """Whether no client has noticed anything."""
        return not (self.altered or self.refused or self.early or self.load_failures)


class Clients:
    """Long-lived connections, and the load beside them, until `is_over`."""

    def __init__(self, url: str, figures: Figures) -> None:
        self._url, self._figures = url, figures
        self.open = 0
        self.is_over = False

    async def stay(self, number: int) -> None:
        """Be connected."""
        figures = self._figures
        while not self.is_over:
            try:
                connection = await vespiary.connect(self._url)
            except Exception as error:
                figures.refused.append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.1)
                continue
            opened = time.monotonic()
            self.open += 1
            try:
                await self._use(connection, number)
            except vespiary.ConnectionClosed as error:
                figures.ended.append((opened, time.monotonic(), error.code))
            finally:
                self.open -= 1
                connection.close()

    async def _use(self, connection: vespiary.Connection, number: int) -> None:
        count = 0
        while not self.is_over:
            count += 1
            text = f"connection {number}, message {count}"
            connection.send(text)
            if await connection.receive() == text:
                self._figures.echoes += 1
            else:
                self._figures.altered += 1
            await asyncio.sleep(1)

    async def load(self) -> None:
        """Run `vespiary load` again and again."""
        figures = self._figures
        command = [sys.executable, "-m", "vespiary", "load", self._url, *LOAD]
        while not self.is_over:
            process = await asyncio.create_subprocess_exec(
                *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            out, err = await process.communicate()
            figures.load_runs += 1
            # A busy machine may miss the rate, which is not the server's fault.
            report = json.loads(out) if out else {}
            if report and not any(report[name] for name in FAULTS):
                figures.load_messages += report["received"]
            else:
                figures.load_failures.append((out + err).decode())


async def _switch(
    server: Server, clients: Clients, figures: Figures, options: argparse.Namespace
) -> None:
    while clients.open < options.connections:  # noqa: ASYNC110 - There are many to wait for.
        await asyncio.sleep(0.05)
    act = server.upgrade if options.way == "upgrade" else server.reload
    for number in range(1, options.count + 1):
        asked = time.monotonic()
        await asyncio.to_thread(act)
        figures.switches.append((asked, time.monotonic()))
        sys.stderr.write(
            f"\r{options.way} {number} of {options.count}: {figures.echoes} echoes,"
            f" {len(figures.ended)} connections drained, {figures.load_runs} runs of the load "
        )
        await asyncio.sleep(options.pause)
    # What was opened before the last one is closed at the end of its drain.
    await asyncio.sleep(DRAIN_SECONDS + CLOSE_SECONDS)
    sys.stderr.write("\n")


async def measure(server: Server, options: argparse.Namespace) -> Figures:
    """Let clients use the server meanwhile."""
    figures = Figures()
    clients = Clients(server.url, figures)
    tasks = [asyncio.ensure_future(clients.load())]
    tasks += [asyncio.ensure_future(clients.stay(one)) for one in range(options.connections)]
    try:
        await _switch(server, clients, figures, options)
    finally:
        clients.is_over = True
        await asyncio.gather(*tasks)
    return figures


def _row(name: str, figures: Figures) -> str:
    least = min(figures.drains, default=math.nan)
    return (
        f"| {name} | {len(figures.switches)} | {figures.echoes} and"
        f" {figures.load_messages} | {figures.altered} and {len(figures.load_failures)} |"
        f" {len(figures.refused)} | {len(figures.ended)} | {least:.1f} s | {figures.early} |"
    )


def main() -> int:
    """Print a table; the exit status is 1 if a client has noticed anything."""
    parser = argparse.ArgumentParser(prog="python -m benches.reloads", description=__doc__)
    parser.add_argument("--count", type=int, default=50, help="how often; default: 50")
    parser.add_argument("--connections", type=int, default=1000, help="default: 1000")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two")
    parser.add_argument("--way", choices=("reload", "upgrade"), help="default: both")
    parser.add_argument("--workers", type=int, help="default: none, and then 2")
    parser.add_argument("--driver", choices=DRIVERS, help="default: both")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    rows, is_clean = [], True
    ways = ("reload", "upgrade") if given.way is None else (given.way,)
    counts = (0, 2) if given.workers is None else (given.workers,)
    drivers = DRIVERS if given.driver is None else (given.driver,)
    for way, workers, driver in itertools.product(ways, counts, drivers):
        with tempfile.TemporaryDirectory() as folder:
            server = Server(Path(folder), workers, DRAIN_SECONDS, driver)
            try:
                options = argparse.Namespace(**{**vars(given), "way": way})
                figures = vespiary.loop.run(measure(server, options))
            finally:
                server.stop()
        rows.append(_row(f"{way}, {workers or 'no'} workers, {driver}", figures))
        is_clean &= figures.is_clean
        for text in [*figures.load_failures[:2], *figures.refused[:2]]:
            sys.stderr.write(text + "\n")
    print(
        "| | how often | echoes: long-lived, load | wrong echoes, failed runs of the load"
        " | refused | drained | shortest drain | closed early |\n|---|---|---|---|---|---|---|---|"
    )
    print("\n".join(rows))
    return 0 if is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
