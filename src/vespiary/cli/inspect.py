"""`vespiary inspect ID`: everything that is known about a connection."""

import json
from pathlib import Path

import click

from vespiary.cli._configuration import configuration_file
from vespiary.cli._help import Command
from vespiary.cli._operating import ask, path_of

__all__ = ["inspect"]


@click.command(cls=Command)
@click.argument("connection")
@configuration_file
def inspect(connection: str, file: Path) -> None:
    """Show everything that is known about a connection of a running server, as JSON.

    CONNECTION is an id, as 'vespiary connections' lists it. FILE is wasp.toml by default. Secrets
    among the header fields, and queries, are not shown.
    """
    click.echo(json.dumps(ask(file, "GET", path_of("connections", connection)), indent=2))
