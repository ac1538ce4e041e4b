"""Progress while a suite runs: a bar on a terminal, and a line per cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vespiary._counted import counted
from vespiary._printable import escaped
from vespiary.prove.acceptance.outcome import PASSED, Result
from vespiary.prove.acceptance.plan import Plan
from vespiary.prove.acceptance.schedule import Lost

__all__ = ["Shown", "failures", "shown"]

_STYLES = {"passed": "green", "failed": "bold red", "error": "bold yellow"}
_DETAIL_LINES = 30
_COLUMNS = 110

_FAILURES_MAX = 40
_FAILURE_LINES = 8
"""Of each finding at the end; all of them are besides the cell's line, and in the reports."""


class Shown:
    """Shows what happens."""

    def __init__(self, console: Console, bar: Progress, total: int) -> None:
        self._console = console
        self._bar = bar
        self._task = bar.add_task("", total=total)
        self._running: list[str] = []

    def note(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, highlight=False, markup=False)

    def started(self, plan: Plan) -> None:
        """A cell has started."""
        self._running.append(plan.cell.id)
        self._show()

    def lost(self, lost: Lost) -> None:
        """A host was lost."""
        cells = counted(len(lost.moved), "cell")
        self.note(f"lost   {lost.name}: {lost.why}; {cells} that ran there will run elsewhere")
        for plan in lost.moved:
            self._running.remove(plan.cell.id)

    def ended(self, result: Result) -> None:
        """A cell has ended."""
        if result.id in self._running:
            self._running.remove(result.id)
        style = _STYLES[result.outcome]
        where = "" if result.ran_on == "local" else f"  on {result.ran_on}"
        line = f"[{style}]{result.outcome:<6}[/] {escape(result.id)}  {result.seconds:.1f} s{where}"
        self._console.print(line, highlight=False)
        if result.outcome != PASSED:
            self._findings(result)
        self._bar.advance(self._task)
        self._show()

    def _findings(self, result: Result) -> None:
        for line in _lines(result, _DETAIL_LINES):
            self.note(line)

    def _show(self) -> None:
        self._bar.update(self._task, description=", ".join(self._running[:3])[:60])


def failures(results: Sequence[Result]) -> list[str]:
    """Lines that repeat, at the end of a run, which cells did not pass and why.

    Between them and the end of the output there is only the summary, so that they are seen in a log
    of which only the end is kept.
    """
    if not results:
        return []
    lines = [f"{counted(len(results), 'cell')} did not pass:"]
    for result in results[:_FAILURES_MAX]:
        lines += [f"{result.outcome:<6} {result.id}", *_lines(result, _FAILURE_LINES)]
    if len(results) > _FAILURES_MAX:
        rest = results[_FAILURES_MAX:]
        lines.append(f"and {counted(len(rest), 'cell')} more: {' '.join(each.id for each in rest)}")
    return lines


def _lines(result: Result, detail_lines: int) -> Iterator[str]:
    """What was found in a cell, with so many lines of each detail.

    A program may have written anything: control characters would change the reader's terminal.
    """
    for finding in result.findings:
        yield f"       {finding.kind}: {escaped(finding.text)}"
        for line in finding.detail.splitlines()[:detail_lines]:
            yield f"         | {escaped(line.expandtabs())}"


@contextmanager
def shown(total: int, stream: TextIO) -> Iterator[Shown]:
    """Show the progress of so many cells."""
    is_terminal = stream.isatty()
    console = Console(file=stream, width=None if is_terminal else _COLUMNS, soft_wrap=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console, transient=True, disable=not is_terminal) as bar:
        yield Shown(console, bar, total)
