"""The commands of `vespiary trace` that run tests: collect, prove."""

import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from vespiary._counted import counted
from vespiary.cli._help import Command
from vespiary.cli._quantities import SPAN
from vespiary.cli._trace_options import config_option
from vespiary.errors import ConfigurationError
from vespiary.prove.trace.evidence import as_of_today
from vespiary.prove.trace.files import refuse_unwritable
from vespiary.prove.trace.proving.prove import SECONDS_MIN, prove
from vespiary.prove.trace.proving.record import KILLED, Record, is_only_reached
from vespiary.prove.trace.proving.run import Collected, Runner, collect
from vespiary.prove.trace.proving.sameness import merged
from vespiary.prove.trace.scan import scan_sources
from vespiary.prove.trace.settings import Settings, read_settings
from vespiary.trace import TableError

__all__ = ["collect_command", "prove_command"]

PATIENCE_MIN = 1.0
"""A shorter limit would count a busy machine as a failure of the test."""

_only = click.option(
    "--only",
    metavar="ID",
    multiple=True,
    help="Examine this requirement only, and keep the rest of the evidence.  [default: all]",
)
_jobs = click.option(
    "--jobs",
    type=click.IntRange(1),
    default=os.cpu_count() or 1,
    show_default="one per processor",
    help="How many tests run at the same time.",
)
_evidence = click.option(
    "--evidence",
    metavar="FILE",
    help="Write the evidence to this file.  [default: the file that the settings name]",
)
_json = click.option(
    "--json", "as_json", is_flag=True, help="Print the evidence as JSON, instead of the summary."
)


@click.command("collect", cls=Command)
@config_option
@_only
@_jobs
@_evidence
@_json
def collect_command(
    config: Path, only: tuple[str, ...], jobs: int, evidence: str | None, *, as_json: bool
) -> None:
    """Run the tests that claim requirements, and record which marks each of them executes.

    \b
    Exit codes:
      0  every test passed
      1  a test failed, or a source was edited during the run
      2  the settings are wrong, or the tracing build failed
    """  # noqa: D301 - click knows the character by which a paragraph keeps its lines.
    settings = read_settings(config)
    _refuse(_place(settings, evidence), only)
    ran = _run(settings, jobs, only, as_json, lambda _, collected: collected.record())
    _finish(settings, ran, only, evidence, as_json)


@click.command("prove", cls=Command)
@config_option
@_only
@_jobs
@_evidence
@click.option(
    "--patience",
    type=SPAN,
    default=SECONDS_MIN,
    help="The time limit for a test while a mark is disabled is ten times the test's usual time,"
    " but at least TIME."
    f"  [default: {SECONDS_MIN:g}s]",
)
@_json
def prove_command(
    config: Path,
    only: tuple[str, ...],
    jobs: int,
    evidence: str | None,
    patience: float,
    *,
    as_json: bool,
) -> None:
    """Disable each mark in turn, and check that a test that claims its requirement fails.

    A mark that is a condition counts as false while it is disabled. A mark without a condition
    raises an error when it is reached; its requirements are reported as reached, not as proven.

    The program is built once: a mark is a probe that can be disabled while the program runs. The
    evidence is written to a file, which the commands report and gate read.

    \b
    Examples:
      vespiary trace prove
      vespiary trace prove --only rfc6455/5.1/4

    \b
    Exit codes:
      0  every mark is needed by a test that claims it, and every claim is confirmed
      1  a mark is not needed, a claim is wrong, a test fails with no mark disabled, or a source
         was edited during the run
      2  the settings are wrong, or the tracing build failed
    """  # noqa: D301
    if patience < PATIENCE_MIN:
        raise click.UsageError(
            f"--patience must be at least {PATIENCE_MIN:g}s: any test fails in less time"
        )
    settings = read_settings(config)
    _refuse(_place(settings, evidence), only)
    ran = _run(
        settings, jobs, only, as_json, lambda runner, found: prove(runner, found, only, patience)
    )
    if not as_json:
        click.echo(f"{_summary(ran.record)} ({ran.seconds:.0f} s)")
    _finish(settings, ran, only, evidence, as_json)


@dataclass(frozen=True, slots=True)
class _Ran:
    """What a run has shown of the sources as they are, how long it took, and what was edited."""

    record: Record
    seconds: float
    edits: list[str]


def _summary(record: Record) -> str:
    """How many marks and claims hold, as `1 of 2 marks proven; 1 of 2 claims confirmed`."""
    forms = {(mark.site, name): mark.form for mark in record.marks for name in mark.ids}
    shown = [
        is_only_reached(forms.get((proof.site, proof.id), ""), proof.how)
        for proof in record.proofs
        if proof.verdict == KILLED
    ]
    reached = f" and {shown.count(True)} reached" if any(shown) else ""
    claims = sum(claim.verdict == KILLED for claim in record.claims)
    return (
        f"{shown.count(False)} of {counted(len(record.proofs), 'mark')} proven{reached};"
        f" {claims} of {counted(len(record.claims), 'claim')} confirmed"
    )


def _run(
    settings: Settings,
    jobs: int,
    only: tuple[str, ...],
    quiet: bool,
    then: Callable[[Runner, Collected], Record],
) -> _Ran:
    """Collect, then run the given step."""

    def say(words: str) -> None:
        if not quiet:
            click.echo(f"{words} ({time.monotonic() - began:.0f} s)", err=True)

    began = time.monotonic()
    try:
        with _ending_on_signals(), Runner(settings, jobs, say) as runner:
            record, edits = runner.edits.kept(then(runner, collect(runner, only)))
    except TableError as error:
        raise ConfigurationError(str(error)) from error
    return _Ran(record, time.monotonic() - began, edits)


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the run as Ctrl-C does, with all processes that it has started.

    The first signal ends it, and further ones do not interrupt that: many press Ctrl-C twice.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # As nohup has it.
        numbers.append(signal.SIGHUP)

    def end(number: int, _: object) -> None:
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    before = [signal.signal(number, end) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _place(settings: Settings, evidence: str | None) -> Path:
    return Path(evidence) if evidence else settings.root / settings.evidence


def _refuse(path: Path, only: tuple[str, ...]) -> None:
    """Refuse a file for the evidence before anything runs, and not when all is done.

    Raises:
        ConfigurationError: It cannot be written, or the rest of it cannot be kept.
    """
    refuse_unwritable(path)
    if only and path.exists():
        Record.read(path)


def _merged(settings: Settings, path: Path, record: Record, only: tuple[str, ...]) -> Record:
    """The record, with `only` as a part of the evidence that there is."""
    if not (only and path.exists()):
        return record
    before, _ = as_of_today(path, settings.root, scan_sources(settings).marks)
    return merged(before, record, only)


def _keep(record: Record, path: Path) -> None:
    """Write the evidence; if a test has made that impossible, elsewhere: it took minutes.

    Raises:
        ConfigurationError: It was not written to the place that was asked for.
    """
    try:
        record.write(path)
    except ConfigurationError as error:
        folder = Path(tempfile.mkdtemp(prefix="vespiary-evidence-"))
        other = folder / path.name
        try:
            record.write(other)
        except ConfigurationError:
            shutil.rmtree(folder)
            raise error from None
        raise ConfigurationError(
            f"{error}; the evidence is in {other}: move it, or pass it with --evidence"
        ) from error


def _finish(
    settings: Settings, ran: _Ran, only: tuple[str, ...], evidence: str | None, as_json: bool
) -> None:
    """Write the evidence, and say what is not as it must be; with `only` the rest stays."""
    path, record = _place(settings, evidence), ran.record
    _keep(_merged(settings, path, record, only), path)
    problems, weak = [*ran.edits, *record.problems()], record.weak()
    if as_json:
        told = {"problems": problems, "weak": weak}
        click.echo(json.dumps({**asdict(record), **told}, indent=1))
    else:
        for words in (*problems, *(f"warning: {words}" for words in record.hints())):
            click.echo(words)
    if problems:
        raise click.exceptions.Exit(1)
