"""The cycle of a finding as a drawing: with characters for a terminal, and as SVG for a page.

An arrow leads from each lock to the one that a thread wanted while it held the first, and from the
last lock to the first. A page has two drawings, of which a narrow screen shows the second: the
locks on an ellipse, and the locks in a column.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from vespiary.prove.locks.findings import NOTHING, Finding, Step
from vespiary.prove.locks.paint import Paint

__all__ = ["column_svg", "has_circle", "svg", "text"]

_ASCII = str.maketrans({"╭": "+", "╰": "+", "╯": "+", "─": "-", "│": "|", "▶": ">", "▼": "v"})
_SMALL = 6
_NUMBER = re.compile(r"\bL\d+")

_NODE_HEIGHT = 44
_LARGE = 7
"""From so many locks on only their numbers are drawn: their names would not fit."""

_LETTER_WIDTH = 8.2
"""Of bold text, in a wide font."""

_COLUMN_WIDTH = 300
_COLUMN_LEFT = 30
_COLUMN_STEP = 108
"""From the top of a lock to that of the next; between them an arrow with the thread's name."""


def has_circle(finding: Finding) -> bool:
    """Whether a finding is about orders, or waits, that go round."""
    is_one = finding.kind in ("inversion", "deadlock", "information") and len(finding.steps) > 1
    return is_one and not any(NOTHING in (step.holds, step.wants) for step in finding.steps)


def text(steps: Sequence[Step], paint: Paint, by_class: bool = False) -> Iterator[str]:
    """The circle in lines; `by_class`, what is wanted is only made where the next lock was."""

    def show(frame: str, rest: str = "") -> str:
        return (frame if paint.lines else frame.translate(_ASCII)) + rest

    for number, step in enumerate(steps):
        is_last = number + 1 == len(steps)
        yield show("  ╭─▶ " if number == 0 else "  │   ", paint.lock(step.holds))
        how = ", which wants to share" if step.shared else ", which wants"
        if by_class:
            how += f" {paint.lock(step.wants)}, made like"
        yield show("  │     │ ", f"held by {paint.thread(step.thread)}{how}")
        if is_last:
            yield show("  ╰─────╯")
        elif len(steps) <= _SMALL:
            yield show("  │     ▼")


def svg(steps: Sequence[Step], identity: str, by_class: bool = False) -> str:
    """The circle as an SVG element; `identity` sets its marker apart from others' on the page.

    The colours are the page's: `.node`, `.arrow`, `.lock-label` and `.thread-label`.
    """
    plan = _Plan.of(len(steps))
    parts = [
        f'<svg class="circle wide" role="img" width="{plan.width:.0f}"'
        f' viewBox="0 0 {plan.width:.0f} {plan.height:.0f}"'
        f' aria-label="{escape(_in_words(steps))}">',
        _marker(identity),
    ]
    for number, step in enumerate(steps):
        parts += _arrow(step, plan, number, identity)
    for number, step in enumerate(steps):
        label = _NUMBER.sub("class", step.holds) if by_class else step.holds
        parts += _node(label, plan, plan.place(number))
    parts.append("</svg>")
    return "".join(parts)


def column_svg(steps: Sequence[Step], identity: str, by_class: bool = False) -> str:
    """The same for a narrow screen: the locks below each other, and a way back to the first."""
    identity = f"{identity}-column"
    height = len(steps) * _COLUMN_STEP + 4
    parts = [
        f'<svg class="circle narrow" role="img" width="{_COLUMN_WIDTH}"'
        f' viewBox="0 0 {_COLUMN_WIDTH} {height}" aria-label="{escape(_in_words(steps))}">',
        _marker(identity),
    ]
    x, middle = _COLUMN_LEFT + 20, 2 + _NODE_HEIGHT / 2
    for number, step in enumerate(steps):
        top = 2 + number * _COLUMN_STEP
        bottom = top + _NODE_HEIGHT
        if number + 1 < len(steps):
            way = f"M{x} {bottom} V{top + _COLUMN_STEP - 2}"
        else:
            turn = bottom + 44
            way = (
                f"M{x} {bottom} V{turn} Q{x} {turn + 10} {x - 10} {turn + 10}"
                f" H20 Q10 {turn + 10} 10 {turn} V{middle + 10} Q10 {middle} 20 {middle}"
                f" H{_COLUMN_LEFT - 2}"
            )
        name = step.thread.removeprefix("thread ")
        parts += [
            f'<path class="arrow" marker-end="url(#{identity})" d="{way}"/>',
            f'<text class="thread-label start" x="{x + 12}" y="{bottom + 28}">'
            f"{escape(_short(name, 30))}<title>{escape(step.thread)}</title></text>",
        ]
        label = _NUMBER.sub("class", step.holds) if by_class else step.holds
        width = _COLUMN_WIDTH - _COLUMN_LEFT - 2
        place = (_COLUMN_LEFT + width / 2, top + _NODE_HEIGHT / 2)
        parts += _box(label, width, place)
    parts.append("</svg>")
    return "".join(parts)


def _marker(identity: str) -> str:
    """The head of an arrow."""
    return (
        f'<defs><marker id="{identity}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8"'
        ' markerHeight="8" orient="auto-start-reverse"><path class="head" d="M0 0L10 5L0 10z"/>'
        "</marker></defs>"
    )


@dataclass(frozen=True)
class _Plan:
    """Where things lie: two locks side by side, more on an ellipse from the top on, clockwise."""

    count: int
    node_width: float
    radius_x: float
    radius_y: float

    @classmethod
    def of(cls, count: int) -> _Plan:
        if count == 2:
            return cls(count, 240, 210, 0)
        if count < _LARGE:
            return cls(count, 190, 110 + 40 * count, 40 + 30 * count)
        return cls(count, 74, 24 * count, 17 * count)

    @property
    def is_large(self) -> bool:
        return self.count >= _LARGE

    @property
    def width(self) -> float:
        return 2 * (self.radius_x + self.node_width / 2 + 70)

    @property
    def height(self) -> float:
        return 200 if self.count == 2 else 2 * (self.radius_y + _NODE_HEIGHT / 2 + 44)

    @property
    def centre(self) -> tuple[float, float]:
        return self.width / 2, self.height / 2

    def place(self, number: int) -> tuple[float, float]:
        """The middle of a lock's box."""
        x, y = self.centre
        if self.count == 2:
            return x + (self.radius_x if number else -self.radius_x), y
        angle = 2 * math.pi * number / self.count - math.pi / 2
        return x + self.radius_x * math.cos(angle), y + self.radius_y * math.sin(angle)


def _in_words(steps: Sequence[Step]) -> str:
    return "; ".join(f"{step.thread} holds {step.holds} and wants {step.wants}" for step in steps)


def _arrow(step: Step, plan: _Plan, number: int, identity: str) -> list[str]:
    """The arrow from a lock to the next, bent outwards, with the thread's name outside of it."""
    begin, end = plan.place(number), plan.place((number + 1) % plan.count)
    middle = ((begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2)
    if plan.count == 2:
        # One arrow goes above, the other below.
        out = (0.0, -1.0 if begin[0] < end[0] else 1.0)
        bow = 116.0
    else:
        across, down = middle[0] - plan.centre[0], middle[1] - plan.centre[1]
        length = math.hypot(across, down)
        out, bow = (across / length, down / length), 34.0 if plan.is_large else 52.0
    bend = middle[0] + bow * out[0], middle[1] + bow * out[1]
    anchor = "middle" if abs(out[0]) < 0.35 else "start" if out[0] > 0 else "end"
    start, stop = _edge(begin, bend, plan), _edge(end, bend, plan)
    # The arrow's own middle (it is a quadratic Bezier curve), and a line's height beyond it.
    label = tuple(
        (one + 2 * control + other) / 4 + 12 * away
        for one, control, other, away in zip(start, bend, stop, out, strict=True)
    )
    name, most = step.thread.removeprefix("thread "), 32 if plan.count == 2 else 20
    if plan.is_large:
        name = name.rpartition("(")[2].rstrip(")")
    return [
        f'<path class="arrow" marker-end="url(#{identity})" d="M{start[0]:.1f} {start[1]:.1f}'
        f' Q{bend[0]:.1f} {bend[1]:.1f} {stop[0]:.1f} {stop[1]:.1f}"/>',
        f'<text class="thread-label {anchor}" x="{label[0]:.1f}" y="{label[1]:.1f}">'
        f"{escape(_short(name, most))}<title>{escape(step.thread)}</title></text>",
    ]


def _edge(
    node: tuple[float, float], towards: tuple[float, float], plan: _Plan
) -> tuple[float, float]:
    """Where the way from a node's middle to a point leaves its box."""
    across, down = towards[0] - node[0], towards[1] - node[1]
    share = min(
        (plan.node_width / 2 + 4) / abs(across) if across else math.inf,
        (_NODE_HEIGHT / 2 + 4) / abs(down) if down else math.inf,
        1.0,
    )
    return node[0] + across * share, node[1] + down * share


def _node(lock: str, plan: _Plan, place: tuple[float, float]) -> list[str]:
    found = _NUMBER.search(lock.partition(" at ")[0]) if plan.is_large else None
    return _box(lock, plan.node_width, place, found[0] if found is not None else None)


def _box(lock: str, width: float, place: tuple[float, float], text: str | None = None) -> list[str]:
    """A lock's box around `place`, with as much of its name (or of `text`) as fits."""
    left, top = place[0] - width / 2, place[1] - _NODE_HEIGHT / 2
    name, _, where = (text or lock).partition(" at ")
    most = int((width - 10) / _LETTER_WIDTH)
    x, y = f"{place[0]:.1f}", place[1] - 7 if where else place[1]
    label = [f'<text class="lock-label" x="{x}" y="{y:.1f}">{escape(_short(name, most))}</text>']
    if where:
        label.append(f'<text class="address" x="{x}" y="{y + 18:.1f}">{escape(where)}</text>')
    return [
        f'<g><title>{escape(lock)}</title><rect class="node" x="{left:.1f}" y="{top:.1f}"'
        f' width="{width}" height="{_NODE_HEIGHT}" rx="8"/>',
        *label,
        "</g>",
    ]


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
