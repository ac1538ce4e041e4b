"""A plot of values over time or over runs as SVG, as layers or as lines."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from vespiary.prove.quantities import size_text

__all__ = [
    "BYTES",
    "COUNT",
    "PERCENT",
    "PER_SECOND",
    "RUNS",
    "SECONDS",
    "TIME",
    "Axis",
    "Line",
    "Unit",
    "plot",
]

_WIDTH, _HEIGHT = 1000, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 10, 10, 26
_TICKS = 5


@dataclass(frozen=True)
class Line:
    """One of a plot's series.

    Attributes:
        name: For the legend.
        kind: Its class in the style.
        seconds: When each value was measured; or the number of its run.
        values: In the plot's unit.
    """

    name: str
    kind: str
    seconds: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True)
class Unit:
    """What values are, and how they are written.

    Attributes:
        name: As the script knows it.
        text: A value for people.
        base: Ticks are round multiples of its powers.
        least: The plot reaches to this, at least.
    """

    name: str
    text: Callable[[float], str]
    base: float
    least: float


@dataclass(frozen=True)
class Axis:
    """What values are plotted over.

    Attributes:
        name: As the script knows it.
        ticks: Where it is marked up to its end, and with what.
    """

    name: str
    ticks: Callable[[float], Sequence[tuple[float, str]]]


def _time_ticks(end: float) -> list[tuple[float, str]]:
    places = [end * number / _TICKS for number in range(_TICKS + 1)]
    return [(at, f"{at:.1f} s") for at in places]


def _run_ticks(end: float) -> list[tuple[float, str]]:
    return [(float(number), str(number)) for number in range(1, round(end) + 1)]


def _seconds_text(seconds: float) -> str:
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1 or not seconds:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


BYTES: Final = Unit("bytes", size_text, 1024.0, 1.0)
SECONDS: Final = Unit("seconds", _seconds_text, 10.0, 1e-6)
TIME: Final = Axis("time", _time_ticks)
RUNS: Final = Axis("runs", _run_ticks)
COUNT: Final = Unit("count", lambda value: f"{value:,.6g}", 10.0, 1.0)
PERCENT: Final = Unit("percent", lambda value: f"{value:g} %", 10.0, 1.0)
PER_SECOND: Final = Unit("per second", lambda value: f"{value:,.0f}/s", 10.0, 1.0)


def plot(
    lines: Sequence[Line],
    limit: float | None = None,
    *,
    unit: Unit = BYTES,
    axis: Axis = TIME,
    stacked: bool = False,
) -> str:
    """The plot with its legend; markup.

    Args:
        lines: The series; all with the same times if they are stacked.
        limit: Drawn as a line of its own if it is not far above everything.
        unit: That of the values and of the limit.
        axis: What the values are plotted over.
        stacked: Whether each lies on top of the one before.
    """
    tops = _stack(lines) if stacked else [list(line.values) for line in lines]
    highest = max((max(top, default=0.0) for top in tops), default=0.0)
    is_near = limit is not None and limit < 3 * highest
    top = _round_up(max(highest, limit if is_near and limit else 0.0, unit.least), unit.base)
    end = max((line.seconds[-1] for line in lines if line.seconds), default=1.0) or 1.0
    shapes = [_ticks(top, end, unit, axis)]
    for line, values in reversed(list(zip(lines, tops, strict=True))):
        points = [
            (_LEFT + at / end * _inner_width(), _y(value, top))
            for at, value in zip(line.seconds, values, strict=True)
        ]
        shapes.append(_shape(line, points, stacked=stacked))
    if is_near and limit is not None:
        height = _y(limit, top)
        shapes.append(
            f'<line class="limit" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{height:.1f}"'
            f' y2="{height:.1f}"/><text class="limit" x="{_WIDTH - _RIGHT}" y="{height - 4:.1f}"'
            f' text-anchor="end">limit {unit.text(limit)}</text>'
        )
    legend = "".join(
        f'<span><i class="{line.kind}"></i>{escape(line.name)}</span>' for line in lines
    )
    facts = {
        "end": end,
        "left": _LEFT,
        "width": _inner_width(),
        "unit": unit.name,
        "axis": axis.name,
        "lines": [
            {
                "name": line.name,
                "seconds": [round(at, 3) for at in line.seconds],
                "values": [float(f"{value:.6g}") for value in line.values],
            }
            for line in lines
        ],
    }
    return (
        f'<figure data-plot="{escape(json.dumps(facts))}">'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(shapes)}'
        f'<line class="cursor" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" x1="-9" x2="-9"/></svg>'
        f"<figcaption>{legend}<output></output></figcaption></figure>"
    )


def _inner_width() -> int:
    return _WIDTH - _LEFT - _RIGHT


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - value / top * (_HEIGHT - _TOP - _BOTTOM)


def _stack(lines: Sequence[Line]) -> list[list[float]]:
    tops: list[list[float]] = []
    below = [0.0] * len(lines[0].values) if lines else []
    for line in lines:
        below = [a + b for a, b in zip(below, line.values, strict=True)]
        tops.append(below)
    return tops


def _shape(line: Line, points: Sequence[tuple[float, float]], *, stacked: bool) -> str:
    if not points:
        return ""
    path = "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    title = f"<title>{escape(line.name)}</title>"
    if not stacked:
        return f'<path class="line {line.kind}" d="M{path}">{title}</path>'
    ground = _HEIGHT - _BOTTOM
    closed = f"M{points[0][0]:.1f},{ground}L{path}L{points[-1][0]:.1f},{ground}Z"
    return f'<path class="area {line.kind}" d="{closed}">{title}</path>'


def _round_up(value: float, base: float) -> float:
    """A little more than a value, so that the ticks have round sizes."""
    unit = base ** math.floor(math.log(value, base))
    step = unit * 10.0 ** math.floor(math.log10(value / unit / _TICKS))
    for factor in (1, 2, 2.5, 5, 10):
        if factor * step * _TICKS >= value:
            return factor * step * _TICKS
    return value


def _ticks(top: float, end: float, unit: Unit, axis: Axis) -> str:
    parts = []
    for number in range(_TICKS + 1):
        height = _y(top * number / _TICKS, top)
        parts.append(
            f'<line class="tick" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{height:.1f}"'
            f' y2="{height:.1f}"/><text x="{_LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">'
            f"{unit.text(top * number / _TICKS)}</text>"
        )
    for at, text in axis.ticks(end):
        across = _LEFT + _inner_width() * at / end
        anchor = "end" if at == end else "middle"
        parts.append(
            f'<text x="{across:.1f}" y="{_HEIGHT - 8}" text-anchor="{anchor}">{text}</text>'
        )
    return "".join(parts)
