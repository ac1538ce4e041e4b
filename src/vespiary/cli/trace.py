"""`vespiary trace`: tie a specification's requirements to code and to the tests that prove it."""

import click

from vespiary.cli._trace_extract import extract_command, init, rename_command
from vespiary.cli._trace_prove import collect_command, prove_command
from vespiary.cli._trace_report import gate, report, scan_command, snapshot, why

__all__ = ["trace"]


@click.group()
def trace() -> None:
    """Link the requirements of a specification to code, and to the tests that check them.

    A catalogue lists the requirements of a specification. A mark in the code names the requirement
    that the code implements. A claim in a test names the requirement that the test checks. The
    command prove disables each mark, expects that a test with a claim then fails, and writes the
    results to a file, the evidence. A gate in the settings is the status that requirements must
    reach.
    """


for _verb in (init, extract_command, rename_command, scan_command, collect_command, prove_command,
              report, gate, snapshot, why):  # fmt: skip
    trace.add_command(_verb)
