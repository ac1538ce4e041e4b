"""Run a plan, and report its progress."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from vespiary._core import LoadRun
from vespiary.errors import ConfigurationError
from vespiary.prove.load.plan import Plan
from vespiary.prove.load.report import Progress, Report
from vespiary.prove.memory.work import report_work

__all__ = ["LoadRefused", "run", "run_native"]

_LOOK_SECONDS = 0.1


class LoadRefused(ConfigurationError):
    """The plan makes no sense; the text names the option and what it allows."""


def run(plan: Plan, watch: Callable[[Progress], None] | None = None) -> Report:
    """Do what `plan` says, and return the report.

    `watch` is called with the progress about ten times per second, and once more at the end. The
    first KeyboardInterrupt stops sending and waits for what is in flight, unless the server has
    been silent for 0.2 s; the second closes at once. The report then is not `complete`.

    Resource handling: the process's soft limit of descriptors, and as root the hard one, is raised
    to what the plan needs, and stays raised.

    Raises:
        LoadRefused: the plan makes no sense.
        OSError: the system refuses what the run needs, such as enough descriptors; the text says
            what to do. A server that refuses connections is an error in the report only.
    """
    return Report.from_native(run_native(plan, watch))


def run_native(plan: Plan, watch: Callable[[Progress], None] | None = None) -> dict[str, Any]:
    """The same, with the report as the JSON object that `vespiary load --json` writes."""
    options = {field.name: getattr(plan, field.name) for field in fields(plan)}
    try:
        native = LoadRun(**options)
    except (ValueError, OverflowError) as error:
        raise LoadRefused(str(error)) from error
    reported = 0
    while True:
        try:
            progress = Progress.from_native(native.step(_LOOK_SECONDS))
            report_work(progress.received - reported)
            reported = progress.received
            if watch is not None:
                watch(progress)
            if progress.over:
                return native.finish()
        except KeyboardInterrupt:
            native.stop()
