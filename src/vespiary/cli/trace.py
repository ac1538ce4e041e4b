"""`vespiary trace`: tie a specification's requirements to code and to the tests that prove it."""

import click

from vespiary.cli._trace_extract import extract_command, init, rename_command
from vespiary.cli._trace_prove import collect_command, prove_command
from vespiary.cli._trace_report import gate, report, scan_command, snapshot, why

__all__ = ["trace"]


@click.group()
def trace() -> None:
    """Link the requirements of a specification to code, and to the tests that check them."""


for _verb in (init, extract_command, rename_command, scan_command, collect_command, prove_command,
              report, gate, snapshot, why):  # fmt: skip
    trace.add_command(_verb)
