"""`vespiary endpoints`: list the endpoints of a running server."""

import json
from pathlib import Path

import click

from vespiary.cli._configuration import configuration_file
from vespiary.cli._help import Command
from vespiary.cli._operating import ask, path_of

__all__ = ["endpoints"]


@click.command(cls=Command)
@configuration_file
@click.option("--limits", metavar="NAME", help="Print the limits and deadlines of one endpoint.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def endpoints(file: Path, limits: str | None, as_json: bool) -> None:
    """List the endpoints of a running server: state, plug-in, addresses, limits that were set.

    FILE is wasp.toml by default.
    """
    if limits is not None:
        found = ask(file, "GET", path_of("endpoints", limits, "limits"))
        if as_json:
            click.echo(json.dumps(found, indent=2))
            return
        for name, value in found.items():
            click.echo(f"{name} = {'none' if value is None else value}")
        return
    rows = ask(file, "GET", "/snapshot")["endpoints"]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['name']}: {row['state']}, {row['plugin']} on {', '.join(row['urls'])}")
        for name, value in row["limits_set"].items():
            click.echo(f"  {name} = {value}, until the next reload")
