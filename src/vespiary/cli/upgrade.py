"""`vespiary upgrade`: replace the program of a running server."""

from pathlib import Path

import click

from vespiary.cli._configuration import configuration_file
from vespiary.cli._help import Command
from vespiary.cli._operating import ask

__all__ = ["upgrade"]


@click.command(cls=Command)
@configuration_file
def upgrade(file: Path) -> None:
    """Start the program of a running server again, as SIGUSR2 does.

    The new process takes over the listening sockets. When it serves, the old one stops gracefully.
    If it cannot start, the old one continues. FILE is wasp.toml by default.
    """
    click.echo(f"Upgraded: {ask(file, 'POST', '/upgrade')['done']}")
