"""The results as a page."""

import time
from collections.abc import Mapping
from typing import Any

from benches import machine

__all__ = ["markdown"]


def markdown(found: Mapping[str, dict[str, Any]], facts: Mapping[str, object]) -> str:
    """The tables."""
    lines = [
        "# What `vespiary timewait` costs, and whether what it says is true",
        "",
        f"{time.strftime('%Y-%m-%d')}; {machine.in_words(facts)}, {facts['distribution']}. Each in "
        "a network namespace of its own. Times are elapsed times unless they are of a processor. "
        "The looks at 50,000 sockets, and what is beside them, run before other programs "
        "(SCHED_RR) as root, because these would be measured too.",
        "",
    ]
    failed = {name: it for name, it in found.items() if "failed" in it}
    good = {name: it for name, it in found.items() if name not in failed}
    lines += _costs([it for it in good.values() if "remotes" in it])
    lines += _closers([it for it in good.values() if "owners" in it])
    lines += _forecasts([it for it in good.values() if "rate" in it])
    lines += [f"Not measured: {name}: {it['failed']}" for name, it in failed.items()]
    return "\n".join(lines).rstrip() + "\n"


def _costs(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = [
        "## One look at 50,000 sockets in TIME_WAIT, in milliseconds",
        "",
        "Median of 15: the dump, owners, counting, forecasts and advice.",
        "",
        "| remotes | first | median | best | of a processor | `ss -tan` | reading /proc/net/tcp |"
        " totals agree with ss | with the kernel |",
        "|---:|---:|---:|---:|---:|---:|---:|---|---|",
    ]
    lines += [
        f"| {it['remotes']:,} | {it['first_ms']:.0f} | {it['median_ms']:.0f} |"
        f" {it['best_ms']:.0f} | {it['processor_ms']:.0f} | {it['ss_ms']:.0f} |"
        f" {it['proc_ms']:.0f} | {_yes(it['agrees_with_ss'])} | {_yes(it['agrees_with_kernel'])} |"
        for it in rows
    ]
    return [*lines, ""]


def _yes(value: bool) -> str:
    return "yes" if value else "**no**"


def _closers(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = [
        "## Who closed 10,000 connections: 20 processes, 500 connections each",
        "",
        "| owners by | every | open for at most | in TIME_WAIT | right | wrong | right in all |"
        " coverage stated | events lost | of a processor |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {it['owners']} | {it['interval']:g} s | {it['held_seconds'] * 1000:.0f} ms |"
        f" {it['time_wait']:,} | {it['right']:,} | {it['wrong']:,} | {it['share_right']:.2%} |"
        f" {it['coverage_stated']:.2%} | {it['lost_events']:,} | {it['processor_share']:.1%} |"
        for it in rows
    ]
    return [*lines, ""]


def _forecasts(rows: list[dict[str, Any]]) -> list[str]:
    lines = []
    for it in rows:
        lines += [
            f"## The latency cliff at {it['rate']} connections per second",
            "",
            "| warned after | cliff predicted for | cliff was at | warned ahead | connect before |"
            " connect after |",
            "|---:|---:|---:|---:|---:|---:|",
            f"| {_seconds(it['warned_seconds'])} | {_seconds(it['predicted_seconds'])} |"
            f" {_seconds(it['cliff_seconds'])} | {_seconds(it['ahead_seconds'])} |"
            f" {_microseconds(it['connect_before_us'])} |"
            f" {_microseconds(it['connect_after_us'])} |",
            "",
        ]
    return lines


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def _microseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} us"
