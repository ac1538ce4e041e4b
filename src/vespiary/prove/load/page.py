"""A run as one page for a browser: `vespiary load --html FILE`.

The file has everything within itself and loads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby

from vespiary._credentials import bare_url
from vespiary.prove.document import as_document
from vespiary.prove.load.expectations import Expectation
from vespiary.prove.load.plan import Plan
from vespiary.prove.load.report import Report
from vespiary.prove.load.table import as_text
from vespiary.prove.plots import FOLDER, PER_SECOND, SECONDS, Line, plot

__all__ = ["as_html"]

_PERCENTS = (50, 75, 90, 95, 98, 99, 99.5, 99.9, 99.99, 100)
_MOMENT = 0.2
"""Of the interval before it: a shorter last interval is not drawn by itself."""

_NAMES = (("p50", "50 %"), ("p90", "90 %"), ("p99", "99 %"), ("maximum", "maximum"))


def as_html(plan: Plan, report: Report, expectations: Sequence[Expectation]) -> str:
    """The page."""
    unmet = [each for each in expectations if not each.is_met(report)]
    verdict, kind = "Passed", "good"
    if not report.clean:
        verdict, kind = "Failed", "bad"
    elif unmet:
        verdict, kind = f"Not as expected: {', '.join(each.text for each in unmet)}", "bad"
    elif not report.complete:
        verdict, kind = "Stopped before its end", "open"
    body = [
        f"<header><h1>Load of <code>{escape(bare_url(plan.url))}</code></h1></header>",
        f'<p class="verdict {kind}">{escape(verdict)}</p>',
        f"<pre>{escape(as_text(plan, report, expectations))}</pre>",
    ]
    if report.latency.count:
        body += [
            "<h2>Throughput</h2>",
            _throughput(report),
            "<h2>Latency</h2>",
            _latency(report),
            "<h2>Latency by percentile</h2>",
            _percentiles(report),
        ]
    return as_document(f"Load: {verdict}", body, FOLDER)


def _throughput(report: Report) -> str:
    lines = [
        Line("sent", "number0", *_rates([(it.sent, it.seconds) for it in report.series])),
        Line("came back", "number2", *_rates([(it.received, it.seconds) for it in report.series])),
    ]
    if any(it.faults for it in report.series):
        faults = _rates([(it.faults, it.seconds) for it in report.series])
        lines.append(Line("faults", "number5", *faults))
    return plot(lines, unit=PER_SECOND)


def _rates(counts: Sequence[tuple[int, float]]) -> tuple[list[float], list[float]]:
    """The ends of intervals, and the counts per second in them.

    The last interval may be a moment. Its rate would say nothing, so it belongs to the one before.
    """
    if len(counts) > 1 and counts[-1][1] < _MOMENT * counts[-2][1]:
        (before, length), (last, moment) = counts[-2:]
        counts = [*counts[:-2], (before + last, length + moment)]
    ends, values, end = [], [], 0.0
    for count, seconds in counts:
        end += seconds
        ends.append(end)
        values.append(count / seconds)
    return ends, values


def _latency(report: Report) -> str:
    """Percentiles over time; a line stops where nothing came back."""
    points = [it for it in report.series if it.latency_seconds.count]
    ends = [it.start_seconds + it.seconds for it in points]
    lines = [
        Line(text, f"number{number}", ends, [getattr(it.latency_seconds, name) for it in points])
        for number, (name, text) in enumerate(_NAMES)
    ]
    return plot(lines, unit=SECONDS)


def _percentiles(report: Report) -> str:
    rows = [(percent, report.percentile(percent)) for percent in _PERCENTS]
    # A percentile that says no more than the one before it is omitted.
    shown = [next(group) for _, group in groupby(rows, key=lambda row: row[1])]
    cells = "".join(
        f"<tr><td>{percent:g} %</td><td>{SECONDS.text(latency)}</td></tr>"
        for percent, latency in shown
    )
    head = '<th scope="col">messages</th><th scope="col">took no longer than</th>'
    return f"<table><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>"
