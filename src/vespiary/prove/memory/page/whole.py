"""The whole page: the verdict, memory over time, the processes, what was expected."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path

from vespiary.prove.document import as_document
from vespiary.prove.memory.outcome import Outcome
from vespiary.prove.memory.record import KernelSample, ProcessRecord
from vespiary.prove.memory.report import as_text
from vespiary.prove.plots import FOLDER, PERCENT, Line, plot
from vespiary.prove.quantities import size_text

__all__ = ["as_html"]

_LINES_MAX = 8
_BYTES_OF_STAT = frozenset(
    (
        *("anon", "file", "shmem", "kernel", "kernel_stack", "pagetables", "percpu", "sock"),
        *("vmalloc", "slab", "file_mapped", "file_dirty", "file_writeback", "unevictable"),
        *("rss", "cache", "mapped_file", "dirty", "writeback", "swap"),
        *("inactive_anon", "active_anon", "inactive_file", "active_file"),
    )
)
"""Those of `memory.stat` that are bytes and no counts, of both versions."""


def as_html(outcome: Outcome) -> str:
    """The page."""
    measured = outcome.measured
    verdict, *rest = as_text(outcome).splitlines()
    verdict = verdict.removeprefix("vespiary memory: ")
    kind = {"passed": "good", "not-judged": "open"}.get(outcome.result, "bad")
    body = [
        f"<header><h1>Memory of <code>{escape(shlex.join(measured.command))}</code></h1></header>",
        f'<p class="verdict {kind}">{escape(verdict[:1].upper() + verdict[1:])}</p>',
        f"<pre>{escape(chr(10).join(rest))}</pre>",
        "<h2>All processes together</h2>",
        _together(outcome),
        *_kernel(outcome.measured.record.kernel),
        "<h2>Processes</h2>",
        _processes(measured.record.processes),
    ]
    return as_document(f"Memory: {verdict}", body, FOLDER, Path(__file__).parent)


def _together(outcome: Outcome) -> str:
    samples = outcome.measured.record.samples
    seconds = [sample.seconds for sample in samples]
    lines = [
        Line("private", "private", seconds, [sample.memory.private for sample in samples]),
        Line("shared", "shared", seconds, [sample.memory.shared for sample in samples]),
        Line("kernel", "kernel", seconds, [sample.kernel for sample in samples]),
        Line("cache (not limited)", "cache", seconds, [sample.memory.cache for sample in samples]),
    ]
    return plot(lines, outcome.measured.limit, stacked=True)


def _kernel(samples: Sequence[KernelSample]) -> list[str]:
    """What the kernel said of the control group: the biggest of its numbers, and the pressure."""
    if not samples:
        return []
    seconds = [sample.seconds for sample in samples]
    peaks = {name: max(sample.stat.get(name, 0) for sample in samples) for name in samples[-1].stat}
    names = [name for name in peaks if name.removeprefix("total_") in _BYTES_OF_STAT]
    shown = sorted(names, key=lambda name: peaks[name], reverse=True)[:_LINES_MAX]
    lines = [
        Line(name, f"number{number}", seconds, [each.stat.get(name, 0) for each in samples])
        for number, name in enumerate(shown)
        if peaks[name]
    ]
    parts = ["<h2>The kernel's memory.stat</h2>", plot(lines)]
    if samples[-1].pressure:
        waits = [
            Line(f"{name} waited", f"number{number}", seconds, shares)
            for number, name in enumerate(samples[-1].pressure)
            for shares in [[each.pressure.get(name, 0.0) for each in samples]]
        ]
        parts += ["<h2>Memory pressure, of the last 10 seconds</h2>", plot(waits, unit=PERCENT)]
    return parts


def _processes(processes: Sequence[ProcessRecord]) -> str:
    ordered = sorted(processes, key=lambda each: each.peak.used, reverse=True)
    lines = [
        Line(
            f"{each.name} {each.pid}",
            f"number{number}",
            [at for at, _ in each.samples.items],
            [memory.used for _, memory in each.samples.items],
        )
        for number, each in enumerate(ordered[:_LINES_MAX])
    ]
    rows = "".join(
        f"<tr><td>{each.pid}</td><td>{size_text(each.peak.used)}</td>"
        f"<td>{size_text(each.peak.private)}</td><td>{size_text(each.peak.shared)}</td>"
        f"<td>{each.began:.1f} to {each.ended:.1f} s</td>"
        f"<td><code>{escape(each.command)}</code></td></tr>"
        for each in ordered
    )
    names = ("process", "peak", "private", "shared", "seen", "command")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    return f"{plot(lines)}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
