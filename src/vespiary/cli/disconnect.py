"""`vespiary disconnect`: close connections."""

import re
from pathlib import Path

import click

from vespiary.cli._configuration import configuration_file
from vespiary.cli._help import Command
from vespiary.cli._operating import ask, path_of

__all__ = ["disconnect"]

_ID = re.compile(r"\d+\.[0-9a-f]+\.\d+")


@click.command(cls=Command)
@click.argument("target", metavar="ENDPOINT|CONNECTION")
@configuration_file
@click.option(
    "--peer",
    metavar="ADDRESS",
    help="Close only the connections of this peer: an IP address, an address with a port, or a"
    " network.  [default: all]",
)
def disconnect(target: str, file: Path, peer: str | None) -> None:
    """Close connections of an endpoint of a running server, or one connection.

    A connection is named by its id, as 'vespiary connections' lists it. The endpoint accepts new
    connections. FILE is wasp.toml by default.
    """
    if _ID.fullmatch(target):
        path = path_of("connections", target, "disconnect")
    else:
        path = path_of("endpoints", target, "disconnect", peer=peer)
    click.echo(ask(file, "POST", path)["done"])
