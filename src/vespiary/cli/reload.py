"""`vespiary reload`: let a running server read its configuration again."""

from pathlib import Path

import click

from vespiary.cli._configuration import configuration_file
from vespiary.cli._help import Command
from vespiary.cli._operating import ask

__all__ = ["reload"]


@click.command(cls=Command)
@configuration_file
def reload(file: Path) -> None:
    """Let a running server read its configuration again, as SIGHUP does.

    Endpoints that have not changed keep their connections. If the new configuration has mistakes,
    they are printed, and nothing changes. FILE is wasp.toml by default.
    """
    click.echo(f"Reloaded: {ask(file, 'POST', '/reload')['done']}")
