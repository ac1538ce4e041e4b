"""The whole page: what failed and why, the grid of cases and tools, and each cell."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from vespiary._counted import counted
from vespiary.prove.acceptance.history import Earlier, History
from vespiary.prove.acceptance.outcome import ERROR, FAILED, KINDS, PASSED, Result
from vespiary.prove.acceptance.run import Run
from vespiary.prove.document import as_document
from vespiary.prove.plots import BYTES, COUNT, FOLDER, RUNS, SECONDS, Line, plot
from vespiary.prove.quantities import size_text

__all__ = ["as_html"]

_MARKS = {PASSED: "✓", FAILED: "✗", ERROR: "!"}


def as_html(run: Run, history: History, folder: Path, artifacts: Path | None) -> str:
    """The page.

    Args:
        run: The run.
        history: Earlier ones.
        folder: Where the page will be, from which it links to files.
        artifacts: The folder of the cases' files, if they are kept.
    """
    base = None if artifacts is None else os.path.relpath(artifacts, folder)
    body = [
        f"<header><h1>{escape(run.suite)}</h1><p>{_facts(run)}</p></header>",
        _verdict(run),
        *(f'<p class="verdict open">{escape(text)}</p>' for text in run.lost),
        _failures(run),
        "<h2>Cases and tools</h2>",
        _grid(run, history),
        _trend(history),
        "<h2>Cells</h2>",
        *(_cell(result, history, base) for result in run.results),
    ]
    return as_document(f"{run.suite}: {_words(run)}", body, FOLDER, Path(__file__).parent)


def _facts(run: Run) -> str:
    text = f"{escape(str(run.file))}, seed {run.seed}, {run.seconds:.0f} s"
    return text + ("; stopped before its end" if run.is_interrupted else "")


def _words(run: Run) -> str:
    count = [sum(result.outcome == name for result in run.results) for name in (FAILED, ERROR)]
    if not any(count):
        return f"all {counted(len(run.results), 'cell')} passed"
    parts = [f"{count[0]} failed"] if count[0] else []
    parts += [f"{count[1]} could not be run"] if count[1] else []
    return f"{' and '.join(parts)} of {counted(len(run.results), 'cell')}"


def _verdict(run: Run) -> str:
    words = _words(run)
    kind = "bad" if run.failed else "open" if run.is_interrupted else "good"
    return f'<p class="verdict {kind}">{escape(words[:1].upper() + words[1:])}</p>'


def _anchor(result: Result) -> str:
    return quote(result.id, safe="")


def _failures(run: Run) -> str:
    """What is wrong, with the reason, before everything else."""
    rows = "".join(
        f'<li><a href="#{_anchor(result)}">{escape(result.id)}</a> '
        f'<b class="kind">{escape(finding.kind)}</b> {escape(finding.text)}</li>'
        for result in run.failed
        for finding in result.findings
    )
    return f'<ul class="failures">{rows}</ul>' if rows else ""


def _column(result: Result) -> str:
    return result.id.partition("/")[2]


def _grid(run: Run, history: History) -> str:
    columns = list(dict.fromkeys(_column(result) for result in run.results))
    cases = list(dict.fromkeys(result.case for result in run.results))
    by_place = {(result.case, _column(result)): result for result in run.results}
    head = "".join(f'<th scope="col">{_broken(column)}</th>' for column in columns)
    rows = []
    for case in cases:
        cells = "".join(_mark(by_place.get((case, column)), history) for column in columns)
        rows.append(f'<tr><th scope="row">{escape(case)}</th>{cells}</tr>')
    return (
        f'<div class="wide"><table class="grid"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _broken(column: str) -> str:
    return "<br>".join(map(escape, column.split("/")))


def _mark(result: Result | None, history: History) -> str:
    if result is None:
        return '<td class="none" title="excluded by the matrix"></td>'
    kinds = ", ".join(dict.fromkeys(finding.kind for finding in result.findings))
    flaky = '<small class="flaky">flaky</small>' if history.is_flaky(result.id) else ""
    what = f"<small>{escape(kinds)}</small>" if kinds else ""
    return (
        f'<td class="{result.outcome}"><a href="#{_anchor(result)}" title="{escape(result.id)}">'
        f"{_MARKS[result.outcome]} {result.seconds:.1f} s{what}{flaky}</a></td>"
    )


def _cell(result: Result, history: History, base: str | None) -> str:
    """A cell with everything that is known of it; open if it did not pass."""
    is_open = "" if result.outcome == PASSED else " open"
    flaky = ' <span class="flaky">flaky</span>' if history.is_flaky(result.id) else ""
    where = "" if result.ran_on == "local" else f" on {escape(result.ran_on)}"
    parts = [
        *(_finding(finding.kind, finding.text, finding.detail) for finding in result.findings),
        *(f'<p class="note">Note: {escape(note)}.</p>' for note in result.notes),
        _steps(result),
        _memory(result),
        _earlier(history.of(result.id)),
        *(_log(name, text, result) for name, text in result.logs.items()),
        _files(result, base),
    ]
    return (
        f'<details class="cell {result.outcome}" id="{_anchor(result)}"{is_open}>'
        f"<summary><b>{_MARKS[result.outcome]} {escape(result.id)}</b>{flaky}"
        f" <span>{result.seconds:.1f} s{where}, seed {result.seed}, peak"
        f" {size_text(result.peak_bytes)}</span></summary>{''.join(parts)}</details>"
    )


def _finding(kind: str, text: str, detail: str) -> str:
    more = f"<pre>{escape(detail)}</pre>" if detail.strip() else ""
    return (
        f'<div class="finding"><p><b class="kind" title="{escape(KINDS[kind])}">{escape(kind)}</b>'
        f" {escape(text)}</p>{more}</div>"
    )


def _steps(result: Result) -> str:
    rows = "".join(
        f"<li>{step.began:.2f} s: {escape(step.text)} ({step.seconds:.2f} s)</li>"
        for step in result.steps
    )
    return f'<ol class="steps">{rows}</ol>' if rows else ""


def _memory(result: Result) -> str:
    if len(result.memory) < 2:
        return ""
    seconds = [at for at, _ in result.memory]
    line = Line(result.memory_of, "number0", seconds, [used for _, used in result.memory])
    return f"<h3>Memory</h3>{plot([line], stacked=True)}"


def _earlier(earlier: Sequence[Earlier]) -> str:
    """The last runs of the cell: a row of marks, and how its time and its memory have changed."""
    if len(earlier) < 2:
        return ""
    marks = "".join(
        f'<span class="{each.outcome}" title="{each.seconds:.1f} s, peak'
        f' {size_text(each.peak_bytes)} {escape(each.kinds)}">{_MARKS[each.outcome]}</span>'
        for each in earlier
    )
    runs = [float(number) for number in range(1, len(earlier) + 1)]
    seconds = Line("time", "number0", runs, [each.seconds for each in earlier])
    peaks = Line("peak memory", "number2", runs, [float(each.peak_bytes) for each in earlier])
    return (
        f'<p class="earlier">Last {len(earlier)} runs, the newest last: {marks}</p>'
        f"<h3>Over these runs</h3>{plot([seconds], unit=SECONDS, axis=RUNS)}"
        f"{plot([peaks], unit=BYTES, axis=RUNS)}"
    )


def _trend(history: History) -> str:
    """How the suite's runs have changed."""
    earlier = history.runs()
    if len(earlier) < 2:
        return ""
    numbers = [float(number) for number in range(1, len(earlier) + 1)]
    seconds = Line("whole run", "number0", numbers, [each.seconds for each in earlier])
    cells = [
        Line("cells", "number2", numbers, [float(each.cells) for each in earlier]),
        Line("not passed", "number5", numbers, [float(each.not_passed) for each in earlier]),
    ]
    return (
        f"<h2>Last {len(earlier)} runs</h2>{plot(cells, unit=COUNT, axis=RUNS)}"
        f"{plot([seconds], unit=SECONDS, axis=RUNS)}"
    )


def _log(name: str, text: str, result: Result) -> str:
    if not text.strip():
        return ""
    is_open = " open" if result.outcome != PASSED and name == "server" else ""
    count = counted(text.count("\n") + 1, "line")
    return (
        f'<details class="log"{is_open}><summary>Output of {escape(name)} ({count})</summary>'
        f"<pre>{escape(text)}</pre></details>"
    )


def _files(result: Result, base: str | None) -> str:
    names = [name for name in result.artifacts if not name.endswith(".log")]
    if base is None or not names:
        return ""
    links = ", ".join(
        f'<a href="{quote(f"{base}/{result.id}/{name}")}">{escape(name)}</a>' for name in names
    )
    return f'<p class="files">Files: {links}</p>'
