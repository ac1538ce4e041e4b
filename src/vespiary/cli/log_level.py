"""`vespiary log-level`: set the level of the log until the next reload."""

from pathlib import Path

import click

from vespiary.cli._configuration import configuration_file
from vespiary.cli._help import Choice, Command
from vespiary.cli._operating import ask

__all__ = ["log_level"]


@click.command(cls=Command, name="log-level")
@click.argument("level", type=Choice(["debug", "info", "warning", "error"]))
@configuration_file
@click.option(
    "--logger",
    metavar="NAME",
    help="Set only the level of this logger, such as 'vespiary'.  [default: all]",
)
def log_level(level: str, file: Path, logger: str | None) -> None:
    """Set the level of the log of a running server until the next reload.

    FILE is wasp.toml by default.
    """
    click.echo(ask(file, "POST", "/log-level", {"level": level, "logger": logger or ""})["done"])
