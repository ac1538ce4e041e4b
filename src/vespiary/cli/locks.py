"""`vespiary locks -- COMMAND`: lock orders that could deadlock, and deadlocks, of any program.

What only some runs need (`attach`, findings, the files of known ones, the formats of reports) is
imported when it is used: a short command under the detector should not take much longer than alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vespiary.cli._files import FILE, check_writable, write
from vespiary.cli._help import Command
from vespiary.cli._quantities import SIZE, SPAN
from vespiary.cli._starting import like_a_shell
from vespiary.prove.exits import of_status
from vespiary.prove.locks import exits
from vespiary.prove.locks.known import Known
from vespiary.prove.locks.outcome import Outcome, merge
from vespiary.prove.locks.paint import Paint
from vespiary.prove.locks.report import as_json, as_text
from vespiary.prove.locks.run import STALL_SECONDS, run

if TYPE_CHECKING:
    from vespiary.prove.locks.findings import Finding
    from vespiary.prove.locks.known import Suppression

__all__ = ["locks"]

_FULL_BYTES_MAX = 64 << 20


@click.command(
    cls=Command,
    context_settings={"allow_interspersed_args": False, "help_option_names": ["-h", "--help"]},
    epilog=f"\b\nExit codes:\n{exits.table()}",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--json", "json_file", type=FILE, help="Write the report as JSON to this file.")
@click.option("--html", "html_file", type=FILE, help="Write the report as a web page to this file.")
@click.option(
    "--junit", "junit_file", type=FILE, help="Write the findings as JUnit XML to this file."
)
@click.option(
    "--sarif", "sarif_file", type=FILE, help="Write the findings as SARIF 2.1.0 to this file."
)
@click.option(
    "--annotations",
    is_flag=True,
    help="Print one line per finding in the form that GitHub and Forgejo show next to the code.",
)
@click.option("--suppress", type=FILE, help="A file of findings to ignore, each with a reason.")
@click.option(
    "--baseline",
    type=FILE,
    help="Ignore the findings that this file lists. A finding counts again when it is found with"
    " more combinations of locks than the file states.",
)
@click.option(
    "--write-baseline", type=FILE, help="Write the findings to this file, for --baseline."
)
@click.option(
    "--stall",
    type=SPAN,
    default=STALL_SECONDS,
    help="Report a thread that has waited for a lock for this long, if the lock's holder did not"
    f" run either in this time (a stall). The program continues.  [default: {STALL_SECONDS:g}s]",
)
@click.option(
    "--linger",
    type=SPAN,
    default=2.0,
    help="How long to watch processes that continue after COMMAND has ended, such as daemons."
    "  [default: 2s]",
)
@click.option(
    "--repeat",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How many times to run COMMAND.",
)
@click.option(
    "--perturb",
    is_flag=True,
    help="Add small random delays at lock operations, so that rare lock orders occur more often.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    help="Repeat the delays of the run that printed this seed; implies --perturb."
    "  [default: random]",
)
@click.option(
    "--classes",
    is_flag=True,
    help="Also fail for inversions between classes of locks. A class is all locks that are created"
    " at the same place in the code.",
)
@click.option(
    "--core",
    is_flag=True,
    help="Write a core dump of each deadlocked process: with gdb to the current folder, otherwise"
    " where the kernel writes core dumps.",
)
@click.option(
    "--full",
    is_flag=True,
    help="Record every acquisition, to report waits, hold times and contention. Each acquisition"
    " then takes some microseconds longer.",
)
@click.option(
    "--full-max",
    type=SIZE,
    help="With --full: the maximum size of the record, over all processes together. An"
    " acquisition takes 40 bytes.  [default: 64MiB]",
)
@click.option("--verbose", is_flag=True, help="Also print findings that do not make the run fail.")
def locks(
    command: tuple[str, ...],
    json_file: Path | None,
    html_file: Path | None,
    junit_file: Path | None,
    sarif_file: Path | None,
    annotations: bool,
    suppress: Path | None,
    baseline: Path | None,
    write_baseline: Path | None,
    stall: float,
    linger: float,
    repeat: int,
    perturb: bool,
    seed: int | None,
    classes: bool,
    core: bool,
    full: bool,
    full_max: int | None,
    verbose: bool,
) -> None:
    """Run COMMAND, and report lock orders that could deadlock, and deadlocks when they happen.

    Options after the first word of COMMAND belong to COMMAND. The -- before it is optional.

    `vespiary locks attach PID` shows which threads of a process that runs already wait for which
    others. See the --help of attach.

    Write times as 250ms, 5s or 2min, and sizes as 64MiB.

    \b
    Examples:
      vespiary locks -- ./server --port 8080
      vespiary locks --json report.json -- python -m pytest
      vespiary locks --repeat 20 --perturb -- ./test_queue
      vespiary locks attach 4711
    """  # noqa: D301 - click knows the character by which a paragraph keeps its lines.
    _choose(command)
    _check(stall, full, full_max)
    suppressions, before = _read_known(suppress, baseline)
    check_writable(json_file, html_file, junit_file, sarif_file, write_baseline)
    watch = partial(
        run,
        command,
        stall_seconds=stall,
        linger_seconds=linger,
        full_bytes_max=(full_max or _FULL_BYTES_MAX) if full else None,
        core_folder=Path.cwd() if core else None,
    )
    live = _Live()
    outcome = _run(watch, live, repeat, _seed(perturb, seed))
    if classes:
        outcome.findings = _with_classes_told(outcome.findings)
    found = outcome.findings
    known = Known.sort(found, suppressions, before)
    outcome.findings = known.new
    if annotations:
        _annotate(outcome)
    _print(outcome, known, live, verbose)
    status = _status(outcome)
    if write_baseline is not None:
        _write_baseline(write_baseline, found)
    if html_file is not None:
        from vespiary.prove.locks.page import as_html

        write(html_file, as_html(outcome, known, command))
    _write_reports(outcome, command, json_file, junit_file, sarif_file)
    sys.exit(status)


def _print(outcome: Outcome, known: Known, live: _Live, verbose: bool) -> None:
    paint = Paint.of(sys.stderr)
    if verbose:
        for finding in known.new:
            if not finding.is_told:
                _show(finding, paint)
    click.echo(as_text(outcome, paint, live.told), err=True, color=True)
    _tell_known(known)


def _annotate(outcome: Outcome) -> None:
    from vespiary.prove.locks.formats import as_annotations

    told = [finding for finding in outcome.findings if finding.is_told]
    lines = as_annotations(told, outcome.coverage)
    click.echo(lines, nl=bool(lines))


def _check(stall: float, full: bool, full_max: int | None) -> None:
    """Refuse options that would have no effect."""
    if stall <= 0:
        raise click.UsageError("--stall must be more than 0: a time such as 250ms or 5s")
    if full_max is not None and not full:
        raise click.UsageError("--full-max limits what --full records: add --full")
    if full_max == 0:
        raise click.UsageError("--full-max must be more than 0: a size such as 64MiB")


def _read_known(
    suppress: Path | None, baseline: Path | None
) -> tuple[list[Suppression], dict[str, int]]:
    """What is known already, by the files that are given."""
    if suppress is None and baseline is None:
        return [], {}
    from vespiary.prove.locks.known_files import read_baseline, read_suppressions

    return (
        read_suppressions(suppress) if suppress is not None else [],
        read_baseline(baseline) if baseline is not None else {},
    )


def _show(finding: Finding, paint: Paint) -> None:
    from vespiary.prove.locks.rendering import finding_text

    click.echo(finding_text(finding, paint), err=True, color=True)


def _with_classes_told(findings: list[Finding]) -> list[Finding]:
    """Findings with those about classes of locks as inversions, which fail a build."""
    from dataclasses import replace

    from vespiary.prove.locks.findings import ordered

    return ordered(
        replace(finding, kind="inversion") if finding.by_class else finding for finding in findings
    )


def _write_reports(
    outcome: Outcome,
    command: tuple[str, ...],
    json_file: Path | None,
    junit_file: Path | None,
    sarif_file: Path | None,
) -> None:
    """Write what other programs read."""
    told = [finding for finding in outcome.findings if finding.is_told]
    if json_file is not None:
        _write_json(json_file, as_json(outcome))
    if junit_file is not None:
        from vespiary.prove.locks.formats import as_junit

        write(junit_file, as_junit(told, command, outcome.coverage))
    if sarif_file is not None:
        from vespiary.prove.locks.formats import as_sarif

        _write_json(sarif_file, as_sarif(outcome.findings, outcome.coverage))


def _write_json(path: Path, report: dict[str, Any]) -> None:
    import json

    write(path, json.dumps(report, indent=2) + "\n")


def _choose(command: tuple[str, ...]) -> None:
    """Go to `attach` when that is asked for."""
    if not command:
        raise click.UsageError(
            "say which program to run: vespiary locks -- COMMAND [ARGUMENTS];"
            " or, for one that runs already: vespiary locks attach PID"
        )
    if command[0] == "attach":
        from vespiary.cli._locks_attach import attach

        attach.main(list(command[1:]), "vespiary locks attach")
    if len(command) == 2 and command[1].isdecimal():
        import difflib
        import shutil

        if difflib.get_close_matches(command[0], ["attach"]) and not shutil.which(command[0]):
            raise click.UsageError(
                f"there is no program {command[0]!r}: did you mean 'vespiary locks attach"
                f" {command[1]}'?"
            )


def _seed(perturb: bool, seed: int | None) -> int | None:
    if not perturb and seed is None:
        return None
    if seed is None:
        seed = int.from_bytes(os.urandom(4))
    text = f"vespiary locks: perturbing from the seed {seed} (--seed {seed} repeats it)"
    click.echo(text, err=True)
    return seed


class _Live:
    """Says what is found while the program runs, and keeps its signatures."""

    def __init__(self) -> None:
        self.told: set[str] = set()

    def __call__(self, found: Finding) -> None:
        self.told.add(found.signature)
        _show(found, Paint.of(sys.stderr))


def _run(watch: Callable[..., Outcome], live: _Live, repeat: int, seed: int | None) -> Outcome:
    """The outcome of all runs; ends with the first deadlock, or when it is asked to."""
    outcomes: list[Outcome] = []
    for number in range(repeat):
        if repeat > 1:
            click.echo(f"vespiary locks: run {number + 1} of {repeat}", err=True)
        with like_a_shell("locks"):
            outcome = watch(on_live=live, perturb=None if seed is None else seed + number)
        outcomes.append(outcome)
        if outcome.deadlocked or outcome.asked_to_end:
            break
    return merge(outcomes)


def _write_baseline(path: Path, findings: list[Finding]) -> None:
    from vespiary.prove.locks.known_files import baseline_text

    write(path, baseline_text(findings))
    click.echo(f"vespiary locks: wrote {path}", err=True)


def _tell_known(known: Known) -> None:
    for finding, cover in known.suppressed:
        text = f"  suppressed: {finding.kind} {finding.signature}: {cover.reason}"
        click.echo(text, err=True)
    for finding in known.baseline:
        click.echo(f"  in the baseline: {finding.kind} {finding.signature}", err=True)
    for cover in known.unused:
        click.echo(f"  not met: the suppression of {cover.place} ({cover.reason})", err=True)


def _status(outcome: Outcome) -> int:
    if outcome.findings:
        from vespiary.prove.locks.findings import worst

        kind = worst(outcome.findings)
        if kind is not None:
            return exits.CODES[kind]
    code = of_status(outcome.status)
    if outcome.coverage.operations > 0:
        return code
    why = (
        "what was not covered is reported above"
        if outcome.coverage.notes
        else "it takes no locks, or its locks are not pthread locks"
    )
    # If the program failed, its own exit code says more.
    code = code or exits.NOTHING_COVERED
    click.echo(
        "vespiary locks: no lock operation was seen, so nothing can be said about this program"
        f" (exit code {code}); {why}",
        err=True,
    )
    return code
