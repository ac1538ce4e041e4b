"""`vespiary timewait`: sockets in TIME_WAIT, their owners, and when local ports will run out."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live

from vespiary.cli._quantities import SPAN
from vespiary.errors import ConfigurationError
from vespiary.prove.timewait import exits
from vespiary.prove.timewait.alarm import Condition
from vespiary.prove.timewait.monitor import Monitor, WatchError
from vespiary.prove.timewait.namespaces import (
    Namespace,
    all_namespaces,
    namespace_of,
    own_namespace,
)
from vespiary.prove.timewait.report import Report
from vespiary.prove.timewait.run import Outcome, Plan, Sink, watch
from vespiary.prove.timewait.table import as_line, as_table

__all__ = ["timewait"]

_INTERVAL_MIN = 0.05


class _Unable(click.ClickException):
    exit_code = exits.UNABLE


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"\b\nExit codes:\n{exits.table()}",
)
@click.option("--once", is_flag=True, help="Look once, print the table, and end.")
@click.option(
    "--json",
    "json_path",
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    help="Write the last report as JSON to FILE, or to standard output in place of the table."
    " Without --duration this looks once.",
)
@click.option(
    "--interval",
    type=SPAN,
    default=1.0,
    help="Time between two looks, such as 500ms; 50ms at least.  [default: 1s]",
)
@click.option("--duration", type=SPAN, help="End after this time.  [default: until Ctrl-C]")
@click.option(
    "--owners",
    type=click.Choice(["auto", "tracepoint", "polling"]),
    default="auto",
    show_default=True,
    help="Find who closed a connection by the kernel's tracepoint (as root), by polling"
    " established connections, or by the first of these that is allowed.",
)
@click.option(
    "--alarm",
    "alarms",
    multiple=True,
    metavar="CONDITION",
    help="End with code 110 when this is met: 'time_wait > 20000' (any state), 'cliff < 60s',"
    " 'exhaustion < 5min', 'buckets < 60s', 'used > 50%', 'overflow > 0'. Repeatable.",
)
@click.option("--keep-going", is_flag=True, help="Go on after an alarm; the code is the same.")
@click.option(
    "--namespace",
    "names",
    multiple=True,
    metavar="NAME|PID",
    help="Watch this network namespace, by its name in /run/netns or a process in it. Repeatable."
    "  [default: the one of this command]",
)
@click.option("--all-namespaces", is_flag=True, help="Watch every network namespace.")
@click.option("--sockets", is_flag=True, help="With --json: list each socket, too.")
@click.option(
    "--top",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Rows of each table; JSON has up to 1,000.",
)
def timewait(
    once: bool,
    json_path: str | None,
    interval: float,
    duration: float | None,
    owners: str,
    alarms: tuple[str, ...],
    keep_going: bool,
    names: tuple[str, ...],
    all_namespaces: bool,
    sockets: bool,
    top: int,
) -> None:
    """Show TCP sockets by state and process, and when local ports will run out.

    TIME_WAIT lasts for 60 seconds on the end that closes first, and keeps a local port from being
    used again for the same destination. Shown are who closed, since when and until when, how many
    ports are left for each destination, and in how many seconds connecting will get slow (half of
    the ports) and fail (all of them). Nothing is changed.

    \b
    vespiary timewait
    vespiary timewait --once --json
    vespiary timewait --alarm 'cliff < 60s' --alarm 'time_wait > 20000'
    """  # noqa: D301 - click knows the character by which a paragraph keeps its lines.
    if interval < _INTERVAL_MIN:
        raise click.UsageError(f"--interval is {_INTERVAL_MIN * 1000:.0f}ms at least")
    if sockets and json_path is None:
        raise click.UsageError("--sockets goes with --json")
    if once and duration is not None:
        raise click.UsageError("--once and --duration exclude each other")
    if keep_going and not alarms:
        raise click.UsageError("--keep-going goes with --alarm")
    is_single = once or (json_path is not None and duration is None)
    plan = Plan(interval, 0.0 if is_single else duration, keep_going)
    output = _Output(json_path, is_single, top)
    conditions = [Condition.parse(alarm) for alarm in alarms]
    try:
        with (
            Monitor(
                _namespaces(names, everything=all_namespaces),
                owners=owners,
                alarms=conditions,
                sockets=sockets,
            ) as monitor,
            output.shown() as sinks,
        ):
            outcome = watch(monitor, plan, sinks, is_over=lambda: False)
        output.finish(outcome)
    except WatchError as error:
        raise _Unable(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(0)
    sys.exit(exits.ALARM if outcome.alarmed else 0)


def _namespaces(names: Sequence[str], *, everything: bool) -> Callable[[], Sequence[Namespace]]:
    """What returns the namespaces to watch."""
    if everything:
        if names:
            raise click.UsageError("--namespace and --all-namespaces exclude each other")
        return all_namespaces
    chosen = [namespace_of(name) for name in names] or [own_namespace()]
    return lambda: chosen


@dataclass(frozen=True)
class _Output:
    """Where reports go: a live table, lines, or JSON."""

    json_path: str | None
    is_single: bool
    top: int

    @contextmanager
    def shown(self) -> Iterator[Sequence[Sink]]:
        """What takes each report while the command runs."""
        if self.is_single or self.json_path == "-":
            yield ()
        elif not sys.stdout.isatty():
            yield (lambda report: click.echo(as_line(report)),)
        else:
            with Live(console=Console(), screen=True, auto_refresh=False) as live:
                yield (lambda report: live.update(as_table(report, self.top), refresh=True),)

    def finish(self, outcome: Outcome) -> None:
        """Write what is left at the end."""
        if self.json_path is not None:
            self._write(json.dumps(outcome.report, indent=2))
        if self.json_path != "-" and (self.is_single or sys.stdout.isatty()):
            self._print(outcome.report)
        for alarm in outcome.report["alarms"]:
            click.echo(f"vespiary timewait: alarm {alarm['alarm']}: {alarm['text']}", err=True)

    def _print(self, report: Report) -> None:
        width = None if sys.stdout.isatty() else 160
        Console(width=width, highlight=False).print(as_table(report, self.top))

    def _write(self, text: str) -> None:
        if self.json_path == "-":
            click.echo(text)
            return
        try:
            Path(self.json_path or "").write_text(text + "\n")
        except OSError as error:
            raise ConfigurationError(
                f"{self.json_path} cannot be written: {error.strerror}", subject="--json"
            ) from None
