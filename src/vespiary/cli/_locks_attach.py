"""`vespiary locks attach PID`: which threads of a running process wait for which others."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from vespiary.cli._files import FILE, check_writable, write
from vespiary.cli._help import Command
from vespiary.cli._quantities import SPAN
from vespiary.prove.locks import exits, snapshots, watchdog
from vespiary.prove.locks.attach import snapshot
from vespiary.prove.locks.findings import Finding
from vespiary.prove.locks.rendering import finding_text
from vespiary.prove.locks.run import STALL_SECONDS

__all__ = ["attach"]

_WATCH_SECONDS_MIN = 0.01


@click.command(
    cls=Command,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExit codes:\n"
    "  0    no deadlock; with --watch: none until the process ended, or until Ctrl-C\n"
    "  2    the options are wrong, or the process cannot be examined\n"
    "  121  a deadlock\n"
    "  123  with --watch: a stall in which the lock's holder seemed to be blocked forever",
)
@click.argument("pid", type=click.IntRange(1))
@click.option(
    "--watch",
    type=SPAN,
    help="Examine the process repeatedly, at this interval, until there is a deadlock."
    "  [default: once; at least 10ms]",
)
@click.option(
    "--stall",
    type=SPAN,
    help="With --watch: report a thread that has waited for a lock for this long, if the lock's"
    f" holder did not run either in this time (a stall).  [default: {STALL_SECONDS:g}s]",
)
@click.option("--json", "json_file", type=FILE, help="Write the report as JSON to this file.")
def attach(pid: int, watch: float | None, stall: float | None, json_file: Path | None) -> None:
    """Show which threads of a running process wait for which others.

    The process needs no preparation, and is neither stopped nor changed. It may be statically
    linked. For a process that was started by `vespiary locks`, the report also has the holders of
    Python's locks and the places where locks were created.

    Write times as 250ms, 5s or 2min.

    \b
    Examples:
      vespiary locks attach 4711
      vespiary locks attach 4711 --watch 5s --json report.json
    """  # noqa: D301 - click knows the character by which a paragraph keeps its lines.
    _check(watch, stall)
    check_writable(json_file)
    if watch is None:
        seen = snapshot(pid)
        click.echo(snapshots.as_text(seen))
        _write(json_file, snapshots.as_json(seen))
        sys.exit(exits.DEADLOCK if seen.findings else 0)
    stalls: list[Finding] = []
    click.echo(f"vespiary locks: watching process {pid} (Ctrl-C ends it)", err=True)

    def tell(finding: Finding) -> None:
        stalls.append(finding)
        click.echo(finding_text(finding))

    try:
        found = watchdog.watch(pid, watch, stall or STALL_SECONDS, tell)
    except KeyboardInterrupt:
        click.echo(f"vespiary locks: process {pid}: no deadlock so far", err=True)
        sys.exit(_status(stalls))
    report: dict[str, Any] = {"pid": pid, "findings": []} if found is None else {}
    if found is not None:
        report = snapshots.as_json(found)
        click.echo(snapshots.as_text(found))
    else:
        click.echo(f"vespiary locks: process {pid} has ended", err=True)
    report["findings"] += [finding.as_json() for finding in stalls]
    _write(json_file, report)
    if found is not None:
        sys.exit(exits.DEADLOCK)
    sys.exit(_status(stalls))


def _check(watch: float | None, stall: float | None) -> None:
    """Refuse options that would have no effect, or keep a processor busy."""
    if watch is not None and watch < _WATCH_SECONDS_MIN:
        raise click.UsageError(f"--watch must be at least {_WATCH_SECONDS_MIN * 1000:.0f}ms")
    if stall is not None and watch is None:
        raise click.UsageError(
            "--stall needs --watch, such as --watch 5s: one check cannot find a stall"
        )
    if stall is not None and stall <= 0:
        raise click.UsageError("--stall must be more than 0: a time such as 250ms or 5s")


def _status(stalls: list[Finding]) -> int:
    return exits.STALL if any(finding.fails for finding in stalls) else 0


def _write(path: Path | None, report: dict[str, Any]) -> None:
    if path is not None:
        write(path, json.dumps(report, indent=2) + "\n")
