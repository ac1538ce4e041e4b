"""Memory over time as a picture, which matplotlib draws: an extra (`vespiary[plots]`)."""

from __future__ import annotations

from pathlib import Path

from vespiary.prove.memory.outcome import Outcome
from vespiary.prove.pictures import save_picture
from vespiary.prove.quantities import size_text

__all__ = ["draw_picture"]

_INCHES = (10.0, 8.0)
_LINES_MAX = 8
_NEAR = 3


def draw_picture(outcome: Outcome, path: Path) -> None:
    """Draw all processes together, by kind of memory, and the largest each.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    record, limit = outcome.measured.record, outcome.measured.limit
    figure = Figure(figsize=_INCHES, layout="constrained")
    together, each = figure.subplots(2, 1, sharex=True)
    seconds = [sample.seconds for sample in record.samples]
    together.stackplot(
        seconds,
        [sample.memory.private for sample in record.samples],
        [sample.memory.shared for sample in record.samples],
        [sample.kernel for sample in record.samples],
        [sample.memory.cache for sample in record.samples],
        labels=["private", "shared", "kernel", "cache (not limited)"],
        colors=["#2f6fb0", "#7a3e9d", "#0b6b74", "#c9c4b8"],
    )
    if limit is not None and limit < _NEAR * max(1, record.peak):
        together.axhline(limit, color="#b3261e", linestyle="--", label="limit")
    together.set_title(f"{outcome.name}: {outcome.result}, {outcome.trend.verdict}")
    largest = sorted(record.processes, key=lambda process: process.peak.used, reverse=True)
    for process in largest[:_LINES_MAX]:
        times = [at for at, _ in process.samples.items]
        levels = [memory.used for _, memory in process.samples.items]
        each.plot(times, levels, label=f"{process.name} {process.pid}")
    each.set_xlabel("seconds")
    for axes in (together, each):
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: size_text(value)))
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left", fontsize=8)
    save_picture(figure, path)
