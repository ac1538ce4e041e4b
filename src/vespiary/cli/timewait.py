"""`vespiary timewait`: sockets in TIME_WAIT, their owners, and when local ports will run out."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from vespiary._counted import counted
from vespiary.cli._files import FILE, check_writable, write
from vespiary.cli._help import Choice, Command
from vespiary.cli._interrupts import interrupted_as_by_ctrl_c
from vespiary.cli._quantities import SPAN
from vespiary.cli._starting import like_a_shell
from vespiary.errors import ConfigurationError
from vespiary.prove.exits import of_status
from vespiary.prove.pictures import check_picture
from vespiary.prove.program import Program
from vespiary.prove.timewait import exits
from vespiary.prove.timewait.alarm import Condition, reached
from vespiary.prove.timewait.monitor import Monitor, WatchError
from vespiary.prove.timewait.namespaces import (
    Namespace,
    all_namespaces,
    hidden_processes,
    namespace_of,
    own_namespace,
)
from vespiary.prove.timewait.openmetrics import exported
from vespiary.prove.timewait.plot import Picture
from vespiary.prove.timewait.recording import Recorder, read_recording
from vespiary.prove.timewait.report import Alarm, Report
from vespiary.prove.timewait.run import Outcome, Plan, Sink, note_alarms, outcome_of, watch
from vespiary.prove.timewait.table import as_line, as_table

__all__ = ["timewait"]

_INTERVAL_MIN = 0.05
_COLUMNS = 160


class _Unable(click.ClickException):
    exit_code = exits.UNABLE


@click.command(
    cls=Command,
    context_settings={"allow_interspersed_args": False, "help_option_names": ["-h", "--help"]},
    epilog=f"\b\nExit codes:\n{exits.table()}",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--once", is_flag=True, help="Print the table once, and exit.")
@click.option(
    "--json",
    "json_path",
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    help="Write the last report as JSON to FILE, or to standard output instead of the table. Exit"
    " after one report, unless --duration, --record, --plot, --openmetrics or COMMAND is given.",
)
@click.option(
    "--interval",
    type=SPAN,
    default=1.0,
    help="Time between two reports, such as 500ms.  [default: 1s]  [at least 50ms]",
)
@click.option("--duration", type=SPAN, help="Exit after this time.  [default: run until Ctrl-C]")
@click.option(
    "--owners",
    type=Choice(["auto", "tracepoint", "polling"]),
    default="auto",
    show_default=True,
    help="How to find the process that closed a connection: with the kernel's tracepoint (needs"
    " root), by polling established connections, or with the first of these that is allowed"
    " (auto).",
)
@click.option(
    "--alarm",
    "alarms",
    multiple=True,
    metavar="CONDITION",
    help="Exit with code 110 when this condition is met: 'time_wait > 20000' (or another state),"
    " 'cliff < 60s', 'exhaustion < 5min', 'buckets < 60s', 'used > 50%', 'overflow > 0'.",
)
@click.option(
    "--keep-going", is_flag=True, help="Continue after an alarm. The exit code is still 110."
)
@click.option("--record", type=FILE, help="Append each report to this file, as JSON in one line.")
@click.option(
    "--replay",
    type=FILE,
    help="Show the reports of a file that --record wrote, instead of this machine's sockets.",
)
@click.option(
    "--plot",
    type=FILE,
    help="At the end, draw the reports to this .png, .svg or .pdf file; needs matplotlib.",
)
@click.option(
    "--openmetrics",
    metavar="[HOST:]PORT",
    help="Serve the last report to Prometheus; needs prometheus-client. The default host is"
    " 127.0.0.1.",
)
@click.option(
    "--namespace",
    "names",
    multiple=True,
    metavar="NAME|PID",
    help="Watch this network namespace, given by its name in /run/netns or by a process in it."
    "  [default: the namespace of this command]",
)
@click.option("--all-namespaces", "everything", is_flag=True, help="Watch every network namespace.")
@click.option("--sockets", is_flag=True, help="With --json: also list each socket.")
@click.option(
    "--top",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Rows per table.",
)
def timewait(**options: Any) -> None:
    """Show TCP sockets by state and process, and when local ports will run out.

    The end that closes a TCP connection first keeps it in TIME_WAIT for 60 seconds. During this
    time its local port cannot be used again for the same destination.

    The report shows which process closed each connection, and how long it stays in TIME_WAIT. It
    shows how many ports are left for each destination, in how many seconds connecting becomes slow
    (half of the ports are used), and when it fails (all are used).

    The command changes nothing. If COMMAND is given, it is started, and watched until it ends.
    Options after the first word of COMMAND belong to COMMAND. The -- before it is optional, but not
    after --json without a FILE.
    Write times as 500ms, 5s or 2min.

    \b
    Examples:
      vespiary timewait
      vespiary timewait --once --json
      vespiary timewait --alarm 'cliff < 60s' --alarm 'time_wait > 20000'
      vespiary timewait --record log.jsonl --plot log.png --duration 5min
      vespiary timewait --alarm 'time_wait > 1000' -- ./run-tests
    """  # noqa: D301 - click knows the character by which a paragraph keeps its lines.
    asked = _Asked(**options)
    asked.check()
    try:
        if asked.replay is not None:
            outcome, status = _replay(asked, asked.replay), 0
        else:
            with interrupted_as_by_ctrl_c():
                outcome, status = _watch(asked)
        _finish(asked, outcome)
    except WatchError as error:
        raise _Unable(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(0)
    except BrokenPipeError:
        _discard_output()
        sys.exit(0)
    sys.exit(exits.ALARM if outcome.alarms else status)


@dataclass(frozen=True)
class _Asked:
    """What the options ask for."""

    command: tuple[str, ...]
    once: bool
    json_path: str | None
    interval: float
    duration: float | None
    owners: str
    alarms: tuple[str, ...]
    keep_going: bool
    record: Path | None
    replay: Path | None
    plot: Path | None
    openmetrics: str | None
    names: tuple[str, ...]
    everything: bool
    sockets: bool
    top: int

    @property
    def is_single(self) -> bool:
        """Whether one look is all."""
        lasting = (self.duration, self.record, self.plot, self.openmetrics)
        is_bare = not self.command and all(it is None for it in lasting)
        return self.once or (self.json_path is not None and is_bare)

    @property
    def plan(self) -> Plan:
        """How long to look, and how often."""
        duration = 0.0 if self.is_single else self.duration
        # With a command, an alarm does not end the observation: the program runs to its end.
        return Plan(self.interval, duration, self.keep_going or bool(self.command))

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is printed before the end."""
        return self.is_single or self.json_path == "-" or bool(self.command)

    def check(self) -> None:
        """Find contradictions."""
        watching = {
            "a COMMAND": self.command,
            "--once": self.once,
            "--duration": self.duration,
            "--record": self.record,
            "--openmetrics": self.openmetrics,
            "--namespace": self.names,
            "--all-namespaces": self.everything,
            "--sockets": self.sockets,
        }
        wrong = {
            f"--interval is {_INTERVAL_MIN * 1000:.0f}ms at least": self.interval < _INTERVAL_MIN,
            "--sockets needs --json": self.sockets and self.json_path is None,
            "--keep-going needs --alarm": self.keep_going and not self.alarms,
            "--namespace and --all-namespaces exclude each other": self.names and self.everything,
            "--once and --duration exclude each other": self.once and self.duration is not None,
            "--once and a COMMAND exclude each other": self.once and self.command,
        }
        if self.replay is not None:
            wrong |= {
                f"--replay reads a recording: {name} cannot be used with it": bool(value)
                for name, value in watching.items()
            }
        for text, is_wrong in wrong.items():
            if is_wrong:
                raise click.UsageError(text)
        if self.plot is not None:
            check_picture(self.plot)
        json_file = None if self.json_path in (None, "-") else Path(self.json_path or "")
        check_writable(json_file, self.plot)


def _watch(asked: _Asked) -> tuple[Outcome, int]:
    """Look at the kernel's sockets; returns the program's exit code, too."""
    with ExitStack() as stack:
        monitor = Monitor(
            _namespaces(asked),
            owners=asked.owners,
            alarms=[Condition.parse(alarm) for alarm in asked.alarms],
            sockets=asked.sockets,
        )
        stack.enter_context(monitor)
        sinks: list[Sink] = [stack.enter_context(_shown(asked))]
        picture = Picture()
        if asked.plot is not None:
            sinks.append(picture)
        if asked.record is not None:
            sinks.append(stack.enter_context(Recorder(asked.record)))
        if asked.openmetrics is not None:
            sinks.append(stack.enter_context(exported(asked.openmetrics)))
        with like_a_shell("timewait"):
            program = Program(asked.command, os.environ) if asked.command else None
        try:
            outcome = watch(monitor, asked.plan, sinks, program)
        finally:
            if program is not None:
                program.close()
    if asked.plot is not None:
        picture.draw(asked.plot)
    status = (program.status or 0) if program is not None else 0
    return outcome, of_status(status)


def _replay(asked: _Asked, path: Path) -> Outcome:
    """Go through a recording."""
    conditions = [Condition.parse(alarm) for alarm in asked.alarms]
    picture = Picture()
    last = None
    alarms: dict[str, Alarm] = {}
    for report in read_recording(path):
        report["alarms"] = reached(conditions, report)
        note_alarms(alarms, report)
        picture(report)
        last = report
        if alarms and not asked.keep_going:
            break
    if last is None:
        raise ConfigurationError(
            f"{path} has no reports: --record writes such a file",
            subject="--replay",
            value=str(path),
        )
    if asked.plot is not None:
        picture.draw(asked.plot)
    return outcome_of(last, alarms)


def _namespaces(asked: _Asked) -> Callable[[], Sequence[Namespace]]:
    """What returns the namespaces to watch."""
    if asked.everything:
        hidden = hidden_processes()
        if hidden:
            text = f"the network namespaces of {counted(hidden, 'process', 'processes')}"
            advice = "" if os.geteuid() == 0 else " (root can)"
            click.echo(f"vespiary timewait: {text} cannot be read{advice}", err=True)
        return all_namespaces
    chosen = [namespace_of(name) for name in asked.names] or [own_namespace()]
    return lambda: chosen


def _print_line(report: Report) -> None:
    try:
        click.echo(as_line(report))
    except BrokenPipeError:
        # The reader has closed the pipe, as `head` does. Stop, but still write the files.
        _discard_output()
        raise KeyboardInterrupt from None


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _shown(asked: _Asked) -> Iterator[Sink]:
    """What shows each report while the command runs."""
    if asked.is_quiet:
        yield lambda _: None
    elif not sys.stdout.isatty():
        yield _print_line
    else:
        with Live(console=Console(), screen=True, auto_refresh=False) as live:
            yield lambda report: live.update(as_table(report, asked.top), refresh=True)


def _finish(asked: _Asked, outcome: Outcome) -> None:
    """Print and write the rest for the end."""
    report = outcome.report
    if asked.json_path is not None:
        _write(asked.json_path, json.dumps(report, indent=2))
    if asked.command:
        _print(report, asked.top, to_stderr=True)
    elif asked.json_path != "-" and (
        asked.is_single or asked.replay is not None or sys.stdout.isatty()
    ):
        _print(report, asked.top, to_stderr=False)
    for alarm in outcome.alarms:
        click.echo(f"vespiary timewait: alarm {alarm['alarm']}: {alarm['text']}", err=True)


def _print(report: Report, top: int, *, to_stderr: bool) -> None:
    stream = sys.stderr if to_stderr else sys.stdout
    width = None if stream.isatty() else _COLUMNS
    console = Console(file=stream, width=width, highlight=False)
    console.print(as_table(report, top))


def _write(path: str, text: str) -> None:
    if path == "-":
        click.echo(text)
        return
    write(Path(path), text + "\n")
