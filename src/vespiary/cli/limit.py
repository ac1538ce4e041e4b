"""`vespiary limit`: set a limit of an endpoint until the next reload."""

from pathlib import Path

import click

from vespiary.cli._configuration import configuration_file
from vespiary.cli._help import Command
from vespiary.cli._operating import ask, path_of

__all__ = ["limit"]


@click.command(cls=Command)
@click.argument("endpoint")
@click.argument("name")
@click.argument("value")
@configuration_file
def limit(endpoint: str, name: str, value: str, file: Path) -> None:
    """Set a limit or a deadline of an endpoint of a running server until the next reload.

    Write NAME and VALUE as in the tables limits and deadlines of the configuration. FILE is
    wasp.toml by default.

    \b
    Examples:
      vespiary limit chat connections_max 500
      vespiary limit chat idle_seconds 2min
    """  # noqa: D301 - click knows the character by which a paragraph keeps its lines.
    path = path_of("endpoints", endpoint, "limits")
    click.echo(ask(file, "POST", path, {"name": name, "value": value})["done"])
