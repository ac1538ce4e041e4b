"""`vespiary memory -- COMMAND`: a limit for the memory of any program, its record, and leaks."""

import json
import sys
from pathlib import Path

import click

from vespiary.cli._files import FILE, check_writable, write_all
from vespiary.cli._help import Choice, Command
from vespiary.cli._quantities import SIZE, SPAN
from vespiary.cli._starting import like_a_shell
from vespiary.errors import ConfigurationError
from vespiary.prove.memory import exits, expectations
from vespiary.prove.memory.allocations import Allocations
from vespiary.prove.memory.drawing import draw
from vespiary.prove.memory.expectations import Expectation, Peak, SlopeMax
from vespiary.prove.memory.formats import as_json, as_junit
from vespiary.prove.memory.limiters import METHODS
from vespiary.prove.memory.outcome import Outcome, conclude
from vespiary.prove.memory.page import as_html
from vespiary.prove.memory.picture import draw_picture
from vespiary.prove.memory.report import as_text
from vespiary.prove.memory.run import Measured, run
from vespiary.prove.pictures import check_picture

__all__ = ["memory"]


@click.command(
    cls=Command,
    context_settings={"allow_interspersed_args": False, "help_option_names": ["-h", "--help"]},
    epilog=f"\b\nExit codes:\n{exits.table()}",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--limit",
    type=SIZE,
    help="The most memory that COMMAND and all processes that it starts may use together, such as"
    " 200M. When it is exceeded, they are killed.  [default: no limit]",
)
@click.option(
    "--peak",
    metavar="EXPECTATION",
    help="Fail unless the peak is as expected: '180 MiB +-10 %' or '< 200 MiB'.",
)
@click.option(
    "--slope",
    metavar="GROWTH",
    help="Fail if memory grows faster than this after warm-up: 0, '2 KiB per second', or, for a"
    " program that reports its work, '1 KiB per 1000 messages'.",
)
@click.option(
    "--expect",
    "expect_file",
    type=FILE,
    help="Read the expected peak and slope of this run from this file.",
)
@click.option(
    "--learn", is_flag=True, help="Write the peak and slope of this run to the file of --expect."
)
@click.option(
    "--name",
    metavar="NAME",
    help="The name of this run in reports and in the file of --expect.  [default: COMMAND]",
)
@click.option(
    "--method",
    type=Choice(METHODS),
    help="How to enforce the limit.  [default: the first of these that this system allows]",
)
@click.option(
    "--linger",
    type=SPAN,
    default=2.0,
    help="How long processes may continue after COMMAND has ended, before they are killed."
    "  [default: 2s]",
)
@click.option(
    "--work",
    type=FILE,
    help="Create a named pipe at this path, through which programs report how much work is done."
    " `vespiary load` reports its messages if the environment has VESPIARY_MEMORY_WORK=FILE.",
)
@click.option(
    "--allocations",
    is_flag=True,
    help="Report where Python processes allocated their memory. This slows them down, and needs"
    " memray.",
)
@click.option("--json", "json_file", type=FILE, help="Write the report as JSON to this file.")
@click.option("--html", "html_file", type=FILE, help="Write the report as a web page to this file.")
@click.option(
    "--plot",
    type=FILE,
    help="Draw the memory over time to this .png, .svg or .pdf file; needs matplotlib.",
)
@click.option(
    "--junit", "junit_file", type=FILE, help="Write the result as JUnit XML to this file."
)
def memory(
    command: tuple[str, ...],
    limit: int | None,
    peak: str | None,
    slope: str | None,
    expect_file: Path | None,
    learn: bool,
    name: str | None,
    method: str | None,
    linger: float,
    work: Path | None,
    allocations: bool,
    json_file: Path | None,
    html_file: Path | None,
    plot: Path | None,
    junit_file: Path | None,
) -> None:
    """Run COMMAND under a memory limit, record its memory, and report whether it grows.

    Options after the first word of COMMAND belong to COMMAND. The -- before it is optional.

    COMMAND and all processes that it starts count together. The kernel's cache of files does not
    count. Write sizes as 200M or 1.5GiB, and times as 250ms, 5s or 2min.

    \b
    Examples:
      vespiary memory --limit 200M -- python server.py
      vespiary memory --slope 0 --json memory.json -- ./server --port 8080
      vespiary memory --expect memory.toml --learn -- python -m pytest
    """  # noqa: D301 - click knows the character by which a paragraph keeps its lines.
    if not command:
        raise click.UsageError(
            "say which program to run: vespiary memory --limit 200M -- COMMAND [ARGUMENTS]"
        )
    if learn and expect_file is None:
        raise click.UsageError("--learn needs --expect FILE, which it writes")
    expected = _expected(peak, slope, expect_file, learn, name, command)
    check_writable(json_file, html_file, plot, junit_file, expect_file if learn else None)
    if plot is not None:
        check_picture(plot)
    places = Allocations() if allocations else None
    measured = _run(command, limit, method, linger, work, places)
    outcome = conclude(measured, name, expected)
    if places is not None:
        outcome.allocations = places.lines()
    click.echo(as_text(outcome), err=True)
    draw(outcome, sys.stderr)
    _write(outcome, json_file, html_file, plot, junit_file)
    if learn and expect_file is not None:
        _learn(expect_file, outcome)
    sys.exit(outcome.exit_code)


def _write(
    outcome: Outcome,
    json_file: Path | None,
    html_file: Path | None,
    plot: Path | None,
    junit_file: Path | None,
) -> None:
    """Write the reports that were asked for."""
    write_all(
        (json_file, lambda: json.dumps(as_json(outcome)) + "\n"),
        (html_file, lambda: as_html(outcome)),
        (junit_file, lambda: as_junit(outcome)),
    )
    if plot is not None:
        draw_picture(outcome, plot)


def _expected(
    peak: str | None,
    slope: str | None,
    file: Path | None,
    learn: bool,
    name: str | None,
    command: tuple[str, ...],
) -> Expectation:
    """What is expected: the options, and for what they leave open the file."""
    try:
        given = Expectation(
            Peak.parse(peak) if peak is not None else None,
            SlopeMax.parse(slope) if slope is not None else None,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if file is None:
        return given
    if learn:
        if file.exists():
            expectations.read(file)  # A mistake in it is reported now, not after the run.
        return given
    known = expectations.read(file)
    wanted = expectations.name_of(name, command)
    if wanted not in known:
        raise ConfigurationError(
            f"{file} has no entry {wanted!r}: add it with --learn, or choose one of its entries"
            f" with --name ({', '.join(map(repr, known)) or 'none'})",
            subject=wanted,
        )
    found = known[wanted]
    return Expectation(given.peak or found.peak, given.slope or found.slope)


def _run(
    command: tuple[str, ...],
    limit: int | None,
    method: str | None,
    linger: float,
    work: Path | None,
    places: Allocations | None,
) -> Measured:
    look = (lambda record, limiter: None) if places is None else places.look
    with like_a_shell("memory"):
        return run(
            command, limit, method=method, linger_seconds=linger, work_path=work, on_look=look
        )


def _learn(file: Path, outcome: Outcome) -> None:
    """Write what was measured, unless the run itself went wrong."""
    if outcome.measured.exceeded is not None or outcome.measured.status:
        click.echo(f"vespiary memory: {file} was not written: the run failed", err=True)
        return
    lines = expectations.learn(file, outcome.name, outcome.measured.record.peak, outcome.trend)
    click.echo(f"vespiary memory: wrote {file}: {', '.join(lines)}", err=True)
    if len(lines) == 1:
        text = f"no slope was written, because it is unclear: {outcome.trend.reason}"
        click.echo(f"vespiary memory: {text}", err=True)
