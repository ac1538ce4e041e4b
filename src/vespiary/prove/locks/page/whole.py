"""The whole page: the verdict, each finding, what was covered, and the full mode's figures."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path

from vespiary._counted import counted
from vespiary.prove.document import as_document
from vespiary.prove.locks import drawing
from vespiary.prove.locks.findings import NOTHING, Finding, LockStory, Step
from vespiary.prove.locks.known import Known
from vespiary.prove.locks.outcome import Coverage, Outcome
from vespiary.prove.locks.page.figures import processes
from vespiary.prove.locks.page.parts import fold, span, stack, table

__all__ = ["as_html"]

_PLURALS = {"misuse": "cases of misuse", "information": "for information"}


def as_html(outcome: Outcome, known: Known, command: Sequence[str]) -> str:
    """The page.

    Args:
        outcome: How the run ended; its statistics are there in the full mode only.
        known: Its findings, sorted into new ones and known ones.
        command: What was run.
    """
    told = [finding for finding in known.new if finding.is_told]
    body = [
        f"<header><h1>Locks of <code>{escape(shlex.join(command))}</code></h1></header>",
        _verdict(outcome, told),
        *(_finding(finding, f"finding-{number}") for number, finding in enumerate(told)),
        *(f"<p>{escape(str(core))}</p>" for core in outcome.cores),
        *_others(known),
        "<h2>What was covered</h2>",
        _coverage(outcome.coverage),
    ]
    if outcome.statistics:
        body.append("<h2>Every acquisition</h2>")
        body.append(processes(outcome.statistics))
    return as_document(f"Locks: {_summary(told)}", body, Path(__file__).parent)


def _summary(told: Sequence[Finding]) -> str:
    if not told:
        return "nothing found"
    kinds = [finding.kind for finding in told]
    parts = []
    for kind in dict.fromkeys(kinds):
        count = kinds.count(kind)
        parts.append(counted(count, kind, _PLURALS.get(kind, "")))
    return ", ".join(parts)


def _verdict(outcome: Outcome, told: Sequence[Finding]) -> str:
    if told:
        return f'<p class="verdict bad">{escape(_summary(told).capitalize())}</p>'
    if outcome.coverage.operations == 0:
        return '<p class="verdict bad">No lock operation was seen: nothing can be said</p>'
    return '<p class="verdict good">Nothing found</p>'


def _finding(finding: Finding, identity: str) -> str:
    parts = [
        f'<h3><span class="badge {finding.kind}">{finding.kind}</span>'
        f"{escape(finding.title[:1].upper() + finding.title[1:])}</h3>",
        f'<p class="soft">process {finding.process}, signature'
        f" <code>{finding.signature}</code></p>",
    ]
    if drawing.has_circle(finding):
        circle = drawing.svg(finding.steps, identity, finding.by_class)
        column = drawing.column_svg(finding.steps, identity, finding.by_class)
        parts.append(f'<div class="drawing">{circle}{column}</div>')
    parts.append(f'<p class="advice"><b>What to change:</b> {escape(finding.advice)}.</p>')
    parts += [_step(step) for step in finding.steps]
    parts.append(_locks(finding.locks))
    return f"<article>{''.join(parts)}</article>"


def _step(step: Step) -> str:
    if step.is_event:
        what = f"{span('thread', step.thread)}, with {span('lock', step.holds)}, at"
        return f'<div class="step"><p>{what}</p>{stack(step.wanted_at)}</div>'
    if step.holds == NOTHING:
        what = f"{span('thread', step.thread)} wants {span('lock', step.wants)} at"
        return f'<div class="step"><p>{what}</p>{stack(step.wanted_at)}</div>'
    how = " (to share it)" if step.shared else ""
    wants = escape(step.does) if step.does else f"wants {span('lock', step.wants)}{how}"
    wanted = f'<div><p class="side-title">and {wants}, at</p>{stack(step.wanted_at)}</div>'
    held = (
        f'<div><p class="side-title">holds {span("lock", step.holds)}, taken at</p>'
        f"{stack(step.taken_at)}</div>"
    )
    return (
        f'<div class="step">{span("thread", step.thread)}<div class="sides">{held}{wanted}</div>'
        "</div>"
    )


def _locks(locks: Sequence[LockStory]) -> str:
    parts = []
    for lock in locks:
        verb = "made" if lock.is_made else "first taken"
        where = f", {verb} at" if lock.made else ""
        parts.append(f"<p>{span('lock', lock.name)}{where}</p>{stack(lock.made, 1)}")
    return (
        f'<div class="step">{fold("Where the locks were made", "".join(parts), is_open=True)}</div>'
    )


def _others(known: Known) -> list[str]:
    """What does not count, behind folds."""
    parts = []
    information = [finding for finding in known.new if not finding.is_told]
    if information:
        inner = "".join(
            _finding(finding, f"information-{number}") for number, finding in enumerate(information)
        )
        parts.append(fold(f"{len(information)} for information", inner))
    if known.suppressed:
        rows = [
            f"<tr><td>{escape(cover.reason)}</td><td>{finding.kind}</td>"
            f"<td>{escape(finding.title)}</td><td><code>{finding.signature}</code></td></tr>"
            for finding, cover in known.suppressed
        ]
        reasons = table(("reason", "kind", "finding", "signature"), rows, kind="left")
        parts.append(fold(f"{len(rows)} suppressed", reasons))
    if known.baseline:
        rows = [
            f"<tr><td>{escape(finding.title)}</td><td>{finding.kind}</td>"
            f"<td><code>{finding.signature}</code></td></tr>"
            for finding in known.baseline
        ]
        before = table(("finding", "kind", "signature"), rows, kind="left")
        parts.append(fold(f"{len(rows)} in the baseline", before))
    return [f"<p></p>{part}" for part in parts]


def _coverage(coverage: Coverage) -> str:
    text = (
        f"<p>Processes: {coverage.processes:,}. Locks: {coverage.locks:,}, taken"
        f" {coverage.operations:,} times. Different orders: {coverage.orders:,}.</p>"
    )
    if coverage.notes:
        rows = "".join(f"<li>{escape(note)}</li>" for note in coverage.notes)
        text += f"<p>Not covered:</p><ul>{rows}</ul>"
    if coverage.lockless:
        rows = "".join(
            f"<li>{escape(name)} ({count})</li>"
            for name, count in sorted(coverage.lockless.items())
        )
        text += fold("Watched, and took no lock", f"<ul>{rows}</ul>")
    return f'<div class="panel">{text}</div>'
