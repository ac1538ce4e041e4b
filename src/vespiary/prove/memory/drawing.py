"""Memory over time, drawn in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from vespiary.prove.memory.outcome import Outcome
from vespiary.prove.memory.record import Sample
from vespiary.prove.quantities import size_text

__all__ = ["draw"]

_ROWS = 8
_COLUMNS_MAX = 100
_LABEL_COLUMNS = 11
_EIGHTHS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_PLAIN = " ..::+##"
_SAMPLES_MIN = 4


def draw(outcome: Outcome, stream: TextIO) -> None:
    """Draw what all processes used: private memory, and shared memory above it."""
    samples = outcome.measured.record.samples
    if len(samples) < _SAMPLES_MIN:
        return
    console = Console(file=stream, highlight=False, soft_wrap=True)
    columns = min(_COLUMNS_MAX, console.width - _LABEL_COLUMNS - 2)
    if columns < _LABEL_COLUMNS:
        return
    can_blocks = (stream.encoding or "").lower().replace("-", "").startswith("utf")
    highest = max(outcome.measured.record.peak, 1)
    for line in _lines(_columns(samples, columns), highest, can_blocks=can_blocks):
        console.print(line)
    seconds = samples[-1].seconds
    end = f"{seconds:.1f} s"
    console.print(Text(" " * _LABEL_COLUMNS + f" 0{end:>{columns - 1}}", style="dim"))


def _columns(samples: Sequence[Sample], columns: int) -> list[Sample | None]:
    """The highest sample of each column; None where there is none."""
    whole = max(samples[-1].seconds, 1e-9)
    found: list[Sample | None] = [None] * columns
    for sample in samples:
        column = min(columns - 1, int(sample.seconds / whole * columns))
        before = found[column]
        if before is None or sample.memory.used > before.memory.used:
            found[column] = sample
    for column in range(1, columns):
        found[column] = found[column] or found[column - 1]
    return found


def _lines(columns: Sequence[Sample | None], highest: int, *, can_blocks: bool) -> list[Text]:
    levels = _EIGHTHS if can_blocks else _PLAIN
    most = len(levels) - 1
    lines = []
    for row in range(_ROWS - 1, -1, -1):
        label = size_text(highest * (row + 1) / _ROWS) if row in (_ROWS - 1, _ROWS // 2 - 1) else ""
        line = Text(f"{label:>{_LABEL_COLUMNS}} ", style="dim")
        for sample in columns:
            if sample is None:
                line.append(" ")
                continue
            filled = sample.memory.used / highest * _ROWS - row
            cell = levels[max(0, min(most, round(filled * most)))]
            is_private = sample.memory.private / highest * _ROWS >= row + 0.5
            line.append(cell, style="not dim blue" if is_private else "not dim magenta")
        lines.append(line)
    return lines
