"""`vespiary top`: what a running server does, live in the terminal."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vespiary._amounts import shown_bytes, shown_seconds
from vespiary._counted import counted
from vespiary.cli._configuration import configuration_file
from vespiary.cli._help import Command
from vespiary.cli._interrupts import interrupted_as_by_ctrl_c
from vespiary.cli._operating import ask

__all__ = ["top"]

_SIGNS = {"serving": "●", "suspended": "❚❚", "drained": "■"}
_WIDTH = 160
"""Columns, if the output is not a terminal."""
_BOUNDS_MS = (
    0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000,
)  # fmt: skip


@click.command(cls=Command)
@configuration_file
@click.option(
    "--interval",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    metavar="NUMBER",
    help="Seconds between two displays.",
)
@click.option(
    "--count",
    type=click.IntRange(min=1),
    help="End after this number of displays.  [default: at Ctrl-C only]",
)
def top(file: Path, interval: float, count: int | None) -> None:
    """Show what a running server does, live in the terminal. Ctrl-C ends it.

    FILE is wasp.toml by default. Rates are averages since the previous display. If the output is
    not a terminal, each display is printed below the previous one. The exit code is 0, even after
    Ctrl-C or SIGTERM.
    """
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    before = ask(file, "GET", "/snapshot")
    with suppress(KeyboardInterrupt), interrupted_as_by_ctrl_c():
        if console.is_terminal:
            with Live(_display(before, before), console=console, screen=count is None) as live:
                for now in _following(file, interval, count):
                    live.update(_display(now, before), refresh=True)
                    before = now
            return
        for now in _following(file, interval, count):
            console.print(_display(now, before), soft_wrap=True)
            before = now


def _following(file: Path, interval: float, count: int | None) -> Iterator[dict[str, Any]]:
    shown = 0
    while count is None or shown < count:
        time.sleep(interval)
        yield ask(file, "GET", "/snapshot")
        shown += 1


def _display(now: dict[str, Any], before: dict[str, Any]) -> Group:
    host = now["host"]
    head = Text(
        f"{now['configuration']}  process {now['process']}, {now['driver']}, running for"
        f" {shown_seconds(now['running_seconds'])}\n"
        f"{counted(now['total']['connections_open'], 'connection')} open,"
        f" {_rate(now, before, 'connections_accepted'):.0f}/s accepted,"
        f" {_rate(now, before, 'messages_received'):.0f}/s messages received,"
        f" {_rate(now, before, 'messages_sent'):.0f}/s sent\n"
        f"host: {host.get('time_wait', 'unknown')} sockets in TIME_WAIT of at most"
        f" {host.get('time_wait_max', 'unknown')}, {host.get('tcp_in_use', 'unknown')} TCP sockets"
    )
    return Group(head, Text(), _endpoints(now, before), Text(), _workers(now, before))


def _rate(now: dict[str, Any], before: dict[str, Any], name: str) -> float:
    return _difference(now["total"], before["total"], name, now["time"] - before["time"])


def _difference(now: dict[str, Any], before: dict[str, Any], name: str, seconds: float) -> float:
    """How much a counter has grown per second; 0 if it has begun again at 0."""
    grown = now[name] - before[name]
    return grown / seconds if seconds > 0 and grown > 0 else 0.0


def _table(title: str, texts: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in texts:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _endpoints(now: dict[str, Any], before: dict[str, Any]) -> Table:
    rates = ("in/s", "out/s", "bytes in/s", "bytes out/s")
    numbers = ("open", "accepted/s", "refused", *rates, "waits", "errors")
    table = _table("Endpoints", ("name", "state"), numbers)
    seconds = now["time"] - before["time"]
    earlier = {one["name"]: one for one in before["endpoints"]}
    for one in now["endpoints"]:
        old = earlier.get(one["name"], one)
        state = Text(f"{_SIGNS[one['state']]} {one['state']}")
        state.stylize("green" if one["state"] == "serving" else "bold red")
        table.add_row(
            one["name"],
            state,
            str(one["connections_open"]),
            f"{_difference(one, old, 'connections_accepted', seconds):.0f}",
            str(one["refused"]),
            f"{_difference(one, old, 'messages_received', seconds):.0f}",
            f"{_difference(one, old, 'messages_sent', seconds):.0f}",
            shown_bytes(_difference(one, old, "bytes_received", seconds)),
            shown_bytes(_difference(one, old, "bytes_sent", seconds)),
            shown_bytes(one["queued_bytes"]),
            str(one["handler_errors"]),
        )
    return table


def _workers(now: dict[str, Any], before: dict[str, Any]) -> Table:
    numbers = ("process", "started", "open", "in/s", "errors", "memory", "loop delay 99 %")
    table = _table("Workers", ("worker",), numbers)
    seconds = now["time"] - before["time"]
    for one, old in zip(now["workers"], before["workers"], strict=False):
        table.add_row(
            "main" if one["number"] is None else str(one["number"]),
            str(one["process"] or "starts"),
            str(one["processes_started"]),
            str(one["connections_open"]),
            f"{_difference(one, old, 'messages_received', seconds):.0f}",
            str(one["handler_errors"]),
            shown_bytes(one["memory_bytes"]),
            _delay(one, old),
        )
    return table


def _delay(now: dict[str, Any], before: dict[str, Any]) -> str:
    """The 99th percentile of the loop's delay between two moments."""
    if now["loop"] is None or before["loop"] is None or now["process"] != before["process"]:
        return "unknown"
    pairs = zip(now["loop"]["counts"], before["loop"]["counts"], strict=True)
    counts = [one - other for one, other in pairs]
    total, seen = sum(counts), 0
    if total <= 0:
        return "unknown"
    for bound, count in zip(_BOUNDS_MS, counts, strict=False):
        seen += count
        if seen >= 0.99 * total:
            return f"{bound:g} ms"
    return "over 10 s"
