"""Pieces of the page: stacks with their source, tables. Each returns markup with escaped texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from vespiary.prove.locks import sources
from vespiary.prove.locks.places import Frame

__all__ = ["fold", "number", "span", "stack", "table"]

_CONTEXT = 2
_SHOWN = 3
_MOST = 48


def span(kind: str, text: str) -> str:
    """A text of some kind: `lock`, `thread`, `soft`."""
    return f'<span class="{kind}">{escape(text)}</span>'


def fold(summary: str, content: str, *, is_open: bool = False) -> str:
    """Content behind a fold; the summary is markup."""
    return f"<details{' open' if is_open else ''}><summary>{summary}</summary>{content}</details>"


def stack(frames: Sequence[Frame], shown: int = _SHOWN, *, is_brief: bool = False) -> str:
    """A stack, innermost first: some frames with their source, the others behind a fold.

    A brief one has the source of the frames before the fold only.
    """
    if not frames:
        return '<p class="soft">No stack was kept here; <code>--full</code> keeps all.</p>'
    own = [frame for frame in sources.own(frames) if not sources.is_folded(frame)]
    first = own[:shown]
    parts = [_frame(frame) for frame in first]
    rest = [frame for frame in frames if not any(frame is each for each in first)][:_MOST]
    if rest:
        inner = "".join(_frame(frame, not is_brief) for frame in rest)
        parts.append(fold(f"{len(rest)} more frame{'s' * (len(rest) != 1)}", inner))
    return "".join(parts)


def _frame(frame: Frame, with_source: bool = True) -> str:
    where = frame.file or frame.module
    place = f"{where}:{frame.line}" if frame.file and frame.line else where
    head = (
        f'<div class="where"><code>{escape(frame.function)}</code>'
        f' <span class="soft">{escape(place)}</span></div>'
    )
    return f'<div class="frame">{head}{_source(frame) if with_source else ""}</div>'


def _source(frame: Frame) -> str:
    lines = sources.around(frame, _CONTEXT)
    if not lines:
        return ""
    indentation = min(
        (len(line) - len(line.lstrip()) for _, line in lines if line.strip()), default=0
    )
    rows = []
    for line_number, line in lines:
        hit = ' class="hit"' if line_number == frame.line else ""
        text = escape(line.expandtabs(8)[indentation:][:300])
        rows.append(f"<span{hit}><i>{line_number}</i>{text}</span>")
    return f'<pre class="source">{"".join(rows)}</pre>'


def number(value: int, text: str) -> str:
    """A cell with a figure, which is sorted by its value and shown as a text."""
    return f'<td data-value="{value}">{escape(text)}</td>'


def table(
    head: Iterable[str], rows: Iterable[str], *, identity: str = "", kind: str = "sorted"
) -> str:
    """A table of rows that are markup already."""
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    name = f' id="{identity}"' if identity else ""
    return (
        f'<div class="scroll"><table class="{kind}"{name}><thead><tr>{names}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
