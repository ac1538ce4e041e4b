"""A picture of what was recorded: sockets, their owners, ports and forecasts over time.

Matplotlib draws it, which is an extra (`pip install vespiary[plots]`).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vespiary.errors import ConfigurationError
from vespiary.prove.pictures import save_picture
from vespiary.prove.timewait.report import BudgetReport, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Picture"]

_LINES_MAX = 5
_NEAR, _ROOM = 2, 1.1
"""A limit is drawn up to so many times what was reached, and has room for its name above it."""

_INCHES = (10.0, 11.0)
_STATES = ("time_wait", "established", "close_wait", "fin_wait2", "syn_sent")


class Picture:
    """Collects what is drawn of each report; a report itself is not kept."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._states: dict[str, list[float]] = defaultdict(list)
        self._owners: dict[str, dict[int, int]] = defaultdict(dict)
        self._used: dict[str, dict[int, int]] = defaultdict(dict)
        self._cliff: dict[str, dict[int, float]] = defaultdict(dict)
        self._limits: set[tuple[str, int]] = set()

    def __call__(self, report: Report) -> None:
        """Take note of a report."""
        moment = len(self._times)
        self._times.append(report["time"])
        for name in _STATES:
            self._states[name].append(report["states"][name])
        for owner in report["owners"]:
            row = self._owners[owner["process"] or "not known"]
            row[moment] = row.get(moment, 0) + owner["states"].get("time_wait", 0)
        for budget in report["budgets"][:_LINES_MAX]:
            name = _name(budget)
            self._used[name][moment] = budget["used"]
            if budget["cliff_seconds"] is not None:
                self._cliff[name][moment] = budget["cliff_seconds"]
            if budget["used"] * 100 >= budget["ports"]:
                self._limits.add(("half of the ports", budget["connect_half"]["ports"]))
                self._limits.add(("all ports", budget["ports"]))

    def draw(self, path: Path) -> None:
        """Draw it.

        Raises:
            ConfigurationError: There is nothing to draw, or the file cannot be written.
        """
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter

        if not self._times:
            raise ConfigurationError("nothing was recorded that could be drawn", subject="--plot")
        figure = Figure(figsize=_INCHES, layout="constrained")
        states, owners, ports, cliff = figure.subplots(4, 1, sharex=True)
        self._draw_states(states)
        self._draw_rows(owners, self._owners, "Sockets in TIME_WAIT by process")
        self._draw_rows(ports, self._used, "Local ports in use by destination")
        self._draw_limits(ports)
        self._draw_rows(cliff, self._cliff, "Forecast: seconds until connecting gets slow")
        cliff.xaxis.set_major_formatter(FuncFormatter(_time_of_day))
        save_picture(figure, path)

    def _draw_limits(self, axes: Axes) -> None:
        """The limits that are near to what is drawn."""
        top = axes.get_ylim()[1]
        for label, limit in sorted(self._limits):
            if limit <= top * _NEAR:
                axes.axhline(limit, color="grey", linestyle=":", linewidth=1)
                axes.set_ylim(top=max(axes.get_ylim()[1], limit * _ROOM))
                axes.annotate(
                    label,
                    (0.995, limit),
                    xycoords=("axes fraction", "data"),
                    ha="right",
                    va="bottom",
                    fontsize=8,
                )

    def _draw_states(self, axes: Axes) -> None:
        axes.set_title("Sockets by state", loc="left", fontsize=10)
        for name, values in self._states.items():
            if any(values):
                axes.plot(self._times, values, label=name.upper(), linewidth=1.5)
        _finish(axes)

    def _draw_rows(
        self, axes: Axes, rows: dict[str, dict[int, int]] | dict[str, dict[int, float]], title: str
    ) -> None:
        axes.set_title(title, loc="left", fontsize=10)
        largest = sorted(rows, key=lambda name: -max(rows[name].values()))
        for name in largest[:_LINES_MAX]:
            if any(rows[name].values()):
                axes.plot(self._times, list(self._filled(rows[name])), label=name, linewidth=1.5)
        _finish(axes)

    def _filled(self, row: dict[int, int] | dict[int, float]) -> Iterable[float]:
        """A value for each moment, with a gap where there is none."""
        return (row.get(moment, float("nan")) for moment in range(len(self._times)))


def _name(budget: BudgetReport) -> str:
    return f"{budget['source']} to {budget['destination']} port {budget['port']}"


def _time_of_day(moment: float, _: object) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))


def _finish(axes: Axes) -> None:
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    handles: Sequence[object] = axes.get_legend_handles_labels()[0]
    if handles:
        axes.legend(loc="best", fontsize=8, framealpha=0.6)
