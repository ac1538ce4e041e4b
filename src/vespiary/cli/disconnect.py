"""`vespiary disconnect ENDPOINT`: close connections."""

from pathlib import Path
from urllib.parse import quote, urlencode

import click

from vespiary.cli._configuration import configuration_file
from vespiary.cli._help import Command
from vespiary.cli._operating import ask

__all__ = ["disconnect"]


@click.command(cls=Command)
@click.argument("endpoint")
@configuration_file
@click.option(
    "--peer",
    metavar="ADDRESS",
    help="Close only the connections of this peer: an IP address, or an address with a port."
    "  [default: all]",
)
def disconnect(endpoint: str, file: Path, peer: str | None) -> None:
    """Close connections of an endpoint of a running server.

    The endpoint accepts new connections. FILE is wasp.toml by default.
    """
    query = "" if peer is None else "?" + urlencode({"peer": peer})
    path = f"/endpoints/{quote(endpoint, safe='')}/disconnect{query}"
    click.echo(ask(file, "POST", path)["done"])
