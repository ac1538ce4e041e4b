"""`vespiary locks -- COMMAND`: lock orders that could deadlock, and deadlocks, of any program."""

import json
import sys
import time
from pathlib import Path

import click

from vespiary.cli._quantities import SPAN
from vespiary.prove.locks.attach import snapshot
from vespiary.prove.locks.findings import worst
from vespiary.prove.locks.report import as_json, as_text, finding_text, snapshot_text
from vespiary.prove.locks.run import run

__all__ = ["locks"]

CODES = {"inversion": 120, "deadlock": 121, "misuse": 122, "stall": 123}
"""The exit codes of findings."""

NOTHING_COVERED = 124
"""The exit code when no lock operation was seen."""


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Exit codes: the program's own when nothing was found; 120 an inversion, 121 a deadlock,"
    " 122 misuse, 123 a stall, 124 no lock operation was seen.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the report here.")
@click.option("--verbose", is_flag=True, help="Show what is for information only, too.")
def locks(command: tuple[str, ...], json_file: Path | None, verbose: bool) -> None:
    """Run COMMAND, and report lock orders that could deadlock, and deadlocks when they happen.

    `vespiary locks attach PID` shows who waits for whom in a process that runs already.
    """
    if command[0] == "attach":
        attach.main(list(command[1:]), "vespiary locks attach")
    outcome = run(command, on_deadlock=lambda found: click.echo(finding_text(found), err=True))
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(outcome), indent=2) + "\n")
    if verbose:
        for finding in outcome.findings:
            if finding.kind == "information":
                click.echo(finding_text(finding), err=True)
    click.echo(as_text(outcome), err=True)
    kind = worst(outcome.findings)
    if kind is not None:
        sys.exit(CODES[kind])
    if outcome.coverage.operations == 0:
        click.echo(
            "vespiary locks: no lock operation was seen: a static program, or one whose locks are"
            " not pthreads'; nothing can be said about it",
            err=True,
        )
        sys.exit(NOTHING_COVERED)
    sys.exit(outcome.status if outcome.status >= 0 else 128 - outcome.status)


@click.command()
@click.argument("pid", type=click.IntRange(1))
@click.option(
    "--watch", type=SPAN, default=None, help="Look again after each such time, until a deadlock."
)
def attach(pid: int, watch: float | None) -> None:
    """Show who waits for whom in a running process, static programs included."""
    while True:
        seen = snapshot(pid)
        if watch is None or seen.circle:
            click.echo(snapshot_text(seen))
            sys.exit(CODES["deadlock"] if seen.circle else 0)
        time.sleep(watch)
