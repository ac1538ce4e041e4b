"""The circle of a finding, drawn: with letters for a terminal, and as SVG for a page.

Each lock points to the one that a thread wanted while it held the first; the last to the first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from vespiary.prove.locks.findings import Finding, Step
from vespiary.prove.locks.paint import Paint

__all__ = ["has_circle", "svg", "text"]

_ASCII = str.maketrans({"╭": "+", "╰": "+", "╯": "+", "─": "-", "│": "|", "▶": ">", "▼": "v"})
_SMALL = 6

_NODE_WIDTH = 190
_NODE_HEIGHT = 44


def has_circle(finding: Finding) -> bool:
    """Whether a finding is about orders, or waits, that go round."""
    return finding.kind in ("inversion", "deadlock", "information") and len(finding.steps) > 1


def text(steps: Sequence[Step], paint: Paint) -> Iterator[str]:
    """The circle in lines."""

    def show(frame: str, rest: str = "") -> str:
        return (frame if paint.lines else frame.translate(_ASCII)) + rest

    for number, step in enumerate(steps):
        is_last = number + 1 == len(steps)
        yield show("  ╭─▶ " if number == 0 else "  │   ", paint.lock(step.holds))
        how = ", which wants to share" if step.shared else ", which wants"
        yield show("  │     │ ", f"held by {paint.thread(step.thread)}{how}")
        if is_last:
            yield show("  ╰─────╯")
        elif len(steps) <= _SMALL:
            yield show("  │     ▼")


def svg(steps: Sequence[Step], identity: str) -> str:
    """The circle as an SVG element; `identity` sets its marker apart from others' on the page.

    The colours are the page's: `.node`, `.arrow`, `.lock-label` and `.thread-label`.
    """
    count = len(steps)
    radius_x = max(170, count * 46)
    radius_y = 92 if count == 2 else max(130, count * 26)
    width = 2 * (radius_x + _NODE_WIDTH // 2 + 12)
    height = 2 * (radius_y + _NODE_HEIGHT // 2 + 16)
    if count == 2:
        height = 170
    centre = (width / 2, height / 2)
    places = [_place(number, count, centre, radius_x, radius_y) for number in range(count)]
    parts = [
        f'<svg class="circle" role="img" viewBox="0 0 {width} {height}"'
        f' aria-label="{escape(_in_words(steps))}">',
        f'<defs><marker id="{identity}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8"'
        ' markerHeight="8" orient="auto-start-reverse"><path class="head" d="M0 0L10 5L0 10z"/>'
        "</marker></defs>",
    ]
    for number, step in enumerate(steps):
        begin, end = places[number], places[(number + 1) % count]
        parts += _arrow(step, begin, end, centre, identity)
    for number, step in enumerate(steps):
        parts += _node(step, places[number])
    parts.append("</svg>")
    return "".join(parts)


def _in_words(steps: Sequence[Step]) -> str:
    return "; ".join(f"{step.thread} holds {step.holds} and wants {step.wants}" for step in steps)


def _place(
    number: int, count: int, centre: tuple[float, float], radius_x: float, radius_y: float
) -> tuple[float, float]:
    """Where a lock lies: two side by side, more on an ellipse from the top on, clockwise."""
    if count == 2:
        return centre[0] + (radius_x if number else -radius_x), centre[1]
    angle = 2 * math.pi * number / count - math.pi / 2
    return centre[0] + radius_x * math.cos(angle), centre[1] + radius_y * math.sin(angle)


def _arrow(
    step: Step,
    begin: tuple[float, float],
    end: tuple[float, float],
    centre: tuple[float, float],
    identity: str,
) -> list[str]:
    middle = ((begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2)
    if middle == centre:
        # Two locks: one arrow goes above, the other below.
        upward = -1 if begin[0] < end[0] else 1
        bend = (centre[0], centre[1] + upward * 104)
        label = (centre[0], centre[1] + upward * 60)
    else:
        bend, label = _beyond(middle, centre, 0.35), _beyond(middle, centre, 0.2)
    start, stop = _edge(begin, bend), _edge(end, bend)
    lines = step.thread.removeprefix("thread ")
    return [
        f'<path class="arrow" marker-end="url(#{identity})" d="M{start[0]:.1f} {start[1]:.1f}'
        f' Q{bend[0]:.1f} {bend[1]:.1f} {stop[0]:.1f} {stop[1]:.1f}"/>',
        f'<text class="thread-label" x="{label[0]:.1f}" y="{label[1]:.1f}">'
        f"{escape(_short(lines, 26))}</text>",
    ]


def _beyond(
    point: tuple[float, float], centre: tuple[float, float], share: float
) -> tuple[float, float]:
    """A point moved away from the centre."""
    return point[0] + share * (point[0] - centre[0]), point[1] + share * (point[1] - centre[1])


def _edge(node: tuple[float, float], towards: Sequence[float]) -> tuple[float, float]:
    """Where the way from a node's middle to a point leaves its box."""
    across, down = towards[0] - node[0], towards[1] - node[1]
    if not across and not down:
        return node
    share = min(
        (_NODE_WIDTH / 2 + 4) / abs(across) if across else math.inf,
        (_NODE_HEIGHT / 2 + 4) / abs(down) if down else math.inf,
    )
    return node[0] + across * share, node[1] + down * share


def _node(step: Step, place: tuple[float, float]) -> list[str]:
    left, top = place[0] - _NODE_WIDTH / 2, place[1] - _NODE_HEIGHT / 2
    name, _, where = step.holds.partition(" at ")
    x, y = f"{place[0]:.1f}", place[1] - 7 if where else place[1]
    label = [f'<text class="lock-label" x="{x}" y="{y:.1f}">{escape(_short(name, 24))}</text>']
    if where:
        label.append(f'<text class="address" x="{x}" y="{y + 18:.1f}">{escape(where)}</text>')
    return [
        f'<g><title>{escape(step.holds)}</title><rect class="node" x="{left:.1f}" y="{top:.1f}"'
        f' width="{_NODE_WIDTH}" height="{_NODE_HEIGHT}" rx="8"/>',
        *label,
        "</g>",
    ]


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
