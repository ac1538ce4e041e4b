"""Options that several commands of `vespiary trace` have."""

from pathlib import Path

import click

__all__ = ["config_option", "evidence_option"]

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("trace.toml"),
    show_default=True,
    help="The settings file. Its folder is the project's root.",
)

evidence_option = click.option(
    "--evidence",
    metavar="FILE",
    help="The evidence that a traced run wrote.  [default: the file that the settings name]",
)
