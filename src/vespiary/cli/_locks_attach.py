"""`vespiary locks attach PID`: who waits for whom in a process that runs already."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from vespiary.cli._files import FILE
from vespiary.cli._quantities import SPAN
from vespiary.prove.locks import exits, snapshots, watchdog
from vespiary.prove.locks.attach import snapshot
from vespiary.prove.locks.findings import Finding
from vespiary.prove.locks.rendering import finding_text
from vespiary.prove.locks.run import STALL_SECONDS

__all__ = ["attach"]


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 no deadlock (with --watch: the process has ended), 121 a deadlock,"
    " 123 with --watch: a stall was reported that only another thread can end, 2 the process cannot"
    " be looked at.",
)
@click.argument("pid", type=click.IntRange(1))
@click.option("--watch", type=SPAN, help="Look again after each such time, until a deadlock.")
@click.option(
    "--stall",
    type=SPAN,
    default=STALL_SECONDS,
    help="With --watch: report a wait for a lock after this long in which the lock's holder did not"
    f" run either ({STALL_SECONDS:g}s).",
)
@click.option("--json", "json_file", type=FILE, help="Write what was seen here as JSON.")
def attach(pid: int, watch: float | None, stall: float, json_file: Path | None) -> None:
    """Show who waits for whom in a running process, static programs included.

    The process is not prepared, stopped or changed. Of one that runs under `vespiary locks` its
    record tells more: who holds Python's locks, and where each lock was made.
    """
    if watch is None:
        seen = snapshot(pid)
        _write(json_file, snapshots.as_json(seen))
        click.echo(snapshots.as_text(seen))
        sys.exit(exits.DEADLOCK if seen.findings else 0)
    stalls: list[Finding] = []
    click.echo(f"vespiary locks: watching process {pid} (Ctrl-C ends it)", err=True)

    def tell(finding: Finding) -> None:
        stalls.append(finding)
        click.echo(finding_text(finding))

    try:
        found = watchdog.watch(pid, watch, stall, tell)
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


def _status(stalls: list[Finding]) -> int:
    return exits.STALL if any(finding.fails for finding in stalls) else 0


def _write(path: Path | None, report: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(report, indent=2) + "\n")
