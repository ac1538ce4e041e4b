"""`vespiary prove SUITE`: run servers with real clients, under every tool, and report."""

import os
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from vespiary._counted import counted
from vespiary._printable import escaped
from vespiary.cli._files import FILE, check_writable, write_all
from vespiary.cli._help import Command
from vespiary.cli._interrupts import interrupted_as_by_ctrl_c
from vespiary.cli._quantities import SIZE
from vespiary.prove.acceptance import exits
from vespiary.prove.acceptance.formats import as_json, as_junit
from vespiary.prove.acceptance.history import History
from vespiary.prove.acceptance.hosts.remote import Remote
from vespiary.prove.acceptance.hosts.shipping import cargo_of
from vespiary.prove.acceptance.matrix import Cell, chosen, with_pythons
from vespiary.prove.acceptance.outcome import ERROR, FAILED
from vespiary.prove.acceptance.page import as_html
from vespiary.prove.acceptance.plan import Plan, plan_of
from vespiary.prove.acceptance.progress import Shown, failures, shown
from vespiary.prove.acceptance.reading import read_suite
from vespiary.prove.acceptance.run import Run
from vespiary.prove.acceptance.schedule import Lost, run_plans
from vespiary.prove.acceptance.sites import Here, Resources, Site
from vespiary.prove.acceptance.suite import Suite

__all__ = ["prove"]

_SEED_MAX = 1 << 32


@click.command(
    cls=Command,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"\b\nExit codes:\n{exits.table()}",
)
@click.argument("suite", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("cases", nargs=-1)
@click.option(
    "--tool",
    "tools",
    multiple=True,
    metavar="TOOL",
    help="Run with this tool only. It can be missing from the suite's matrix.  [default: the tools"
    " of the matrix]",
)
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="PYTHON",
    help="Run with this Python interpreter.  [default: the interpreters of the matrix]",
)
@click.option(
    "--list",
    "is_list",
    is_flag=True,
    help="Print the names of the test cells that would run, and exit.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=os.cpu_count() or 1,
    show_default="one per processor",
    help="How many cases run at the same time.",
)
@click.option(
    "--memory",
    type=SIZE,
    help="Start a case only if the memory limits of all running cases stay below this sum."
    "  [default: three quarters of the machine's memory]",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    help="Repeat the random choices of the run that printed this seed.  [default: random]",
)
@click.option(
    "--repeat", type=click.IntRange(1), help="How many times to run everything.  [default: 1]"
)
@click.option(
    "--until-fail",
    is_flag=True,
    help="Run everything again and again, with new seeds, until a case fails. --repeat limits how"
    " many times.",
)
@click.option(
    "--local", is_flag=True, help="Run everything on this machine, even if the suite names hosts."
)
@click.option(
    "--shared-network",
    is_flag=True,
    help="Use the machine's network. By default, each case has its own network namespace.",
)
@click.option("--json", "json_file", type=FILE, help="Write the results as JSON to this file.")
@click.option(
    "--junit", "junit_file", type=FILE, help="Write the results as JUnit XML to this file."
)
@click.option(
    "--html", "html_file", type=FILE, help="Write the results as a web page to this file."
)
@click.option(
    "--history",
    type=FILE,
    help="Add the results to this SQLite file. Reports then mark flaky cases and show trends.",
)
@click.option(
    "--artifacts",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the output and the reports of each case in this folder.",
)
def prove(suite: Path, **options: Any) -> None:
    """Run the test cases of SUITE: start the server, run clients, check the results, stop it.

    A suite file lists test cases, and a matrix of tools, drivers, Pythons and so on. Each case runs
    once per combination. A case with one combination is a cell. CASES selects cases by name, or
    cells by the names that --list prints. * matches any characters.

    \b
    Examples:
      vespiary prove examples/suite.toml
      vespiary prove suite.toml echo 'chat*' --tool locks
      vespiary prove suite.toml echo/memory/uring --seed 1234 --until-fail
      vespiary prove suite.toml --html report.html --junit report.xml --history results.sqlite
    """  # noqa: D301 - click knows the character by which a paragraph keeps its lines.
    asked = _Asked(suite, **options)
    read = read_suite(suite)
    if asked.pythons:
        read = with_pythons(read, [_from_here(python) for python in asked.pythons])
    cells = chosen(read, asked.cases, asked.tools)
    if asked.is_list:
        for cell in cells:
            click.echo(cell.id)
        return
    check_writable(asked.json_file, asked.junit_file, asked.html_file)
    with History(asked.history) as history, interrupted_as_by_ctrl_c():
        run = _run(asked, read, cells)
        for line in failures(run.failed):
            click.echo(line, err=True)
        click.echo(run.summary, err=True)
        history.add(run)
        _write(asked, run, history)
        history.check()
    sys.exit(_status(run))


def _from_here(program: str) -> str:
    """A program whose path is relative to this folder, for cases that run in another one."""
    return os.path.abspath(program) if "/" in program else program  # noqa: PTH100 - keeps links


@dataclass(frozen=True)
class _Asked:
    """What the options ask for."""

    suite: Path
    cases: tuple[str, ...]
    tools: tuple[str, ...]
    pythons: tuple[str, ...]
    is_list: bool
    jobs: int
    memory: int | None
    seed: int | None
    repeat: int | None
    until_fail: bool
    local: bool
    shared_network: bool
    json_file: Path | None
    junit_file: Path | None
    html_file: Path | None
    history: Path | None
    artifacts: Path | None

    @property
    def resources(self) -> Resources:
        """What the cases may use."""
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return Resources(self.jobs, self.memory or machine * 3 // 4)

    def rounds(self) -> Iterator[int]:
        """The seeds of the rounds."""
        first = self.seed
        if first is None:
            first = random.SystemRandom().randrange(_SEED_MAX)
        number = 0
        while self.repeat is None or number < self.repeat:
            yield first + number
            number += 1
            if self.repeat is None and not self.until_fail:
                return


def _run(asked: _Asked, suite: Suite, cells: Sequence[Cell]) -> Run:
    """Run everything; Ctrl-C ends it, and what there is so far is reported."""
    name = suite.name or escaped(asked.suite.stem)
    run = Run(name, asked.suite)
    try:
        for seed in asked.rounds():
            run.seed = seed
            text = f"{name}: {counted(len(cells), 'cell')}, seed {seed}"
            click.echo(f"vespiary prove: {text}", err=True)
            with shown(len(cells), sys.stderr) as progress:
                _round(asked, suite, cells, run, progress)
            if asked.until_fail and run.failed:
                break
    except KeyboardInterrupt:
        run.is_interrupted = True
    run.finish()
    return run


def _sites(asked: _Asked, suite: Suite) -> list[Site]:
    """Where the cells run."""
    if asked.local or not suite.hosts:
        return [Here(asked.resources, asked.artifacts)]
    cargo = cargo_of(suite, asked.suite.parent)
    return [Remote(name, host, cargo, asked.artifacts) for name, host in suite.hosts.items()]


def _round(asked: _Asked, suite: Suite, cells: Sequence[Cell], run: Run, progress: Shown) -> None:
    folder = asked.suite.parent
    plans = [
        plan_of(suite, folder, cell, run.seed, is_isolated=not asked.shared_network)
        for cell in cells
    ]
    notes: set[str] = set()
    with closing(run_plans(plans, _sites(asked, suite))) as events:
        for event in events:
            if isinstance(event, Plan):
                progress.started(event)
                continue
            if isinstance(event, Lost):
                run.lost.append(f"{event.name} was lost: {event.why}")
                progress.lost(event)
                continue
            for note in set(event.notes) - notes:
                progress.note(f"note: {note}")
                notes.add(note)
            run.add(event)
            progress.ended(event)


def _write(asked: _Asked, run: Run, history: History) -> None:
    """Write the reports that were asked for."""
    page = asked.html_file
    write_all(
        (asked.json_file, lambda: as_json(run, history)),
        (asked.junit_file, lambda: as_junit(run)),
        (page, lambda: as_html(run, history, page.parent if page else Path(), asked.artifacts)),
    )


def _status(run: Run) -> int:
    outcomes = {result.outcome for result in run.results}
    if run.is_interrupted:
        return exits.INTERRUPTED
    if FAILED in outcomes:
        return exits.FAILED
    return exits.ERROR if ERROR in outcomes else 0
