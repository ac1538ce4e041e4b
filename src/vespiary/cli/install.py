"""`vespiary install`: write a systemd unit for a configuration file."""

import shutil
import sys
from pathlib import Path

import click

from vespiary.cli._configuration import configuration_file, reported
from vespiary.cli._files import write
from vespiary.cli._help import Command
from vespiary.errors import ConfigurationError

__all__ = ["install"]

_FOLDER = Path("/etc/systemd/system")


@click.command(cls=Command)
@configuration_file
@click.option(
    "--name",
    metavar="NAME",
    help="The name of the unit.  [default: the name of the folder of FILE]",
)
@click.option(
    "--user",
    metavar="USER",
    help="The user that runs the server.  [default: a user that systemd makes (DynamicUser=)]",
)
@click.option(
    "--print",
    "is_printed",
    is_flag=True,
    help="Print the unit instead of writing it.",
)
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    default=_FOLDER,
    show_default=True,
    help="Where the unit is written.",
)
def install(file: Path, name: str | None, user: str | None, is_printed: bool, folder: Path) -> None:
    """Write a hardened systemd unit that runs a configuration file.

    The configuration is checked first. The unit allows only what a server needs. FILE is wasp.toml
    by default. The unit is not started.

    \b
    Examples:
      vespiary install --print
      vespiary install /opt/app/wasp.toml --user app
    """  # noqa: D301 - click knows the character by which a paragraph keeps its lines.
    with reported():
        from vespiary.wasp.platform import check

        configuration = check(file)
    from vespiary.wasp.units import Unit, unit_text

    name = name or file.absolute().parent.name
    if not all(one.isalnum() or one in "-_.@" for one in name) or not name:
        raise ConfigurationError(
            f"{name!r} cannot be the name of a unit: pass --name with letters, digits and hyphens",
            subject="name",
        )
    text = unit_text(configuration, Unit(name, _program(), user))
    if is_printed:
        click.echo(text, nl=False)
        return
    path = folder / f"{name}.service"
    write(path, text)
    click.echo(f"wrote {path}; start it with:\n  systemctl daemon-reload")
    click.echo(f"  systemctl enable --now {name}")


def _program() -> tuple[str, ...]:
    """The command `vespiary` of this environment."""
    script = Path(sys.executable).with_name("vespiary")
    if script.is_file() and shutil.which(str(script)):
        return (str(script),)
    return (sys.executable, "-m", "vespiary")
