"""`vespiary new NAME`: write the files of a new plug-in project."""

import keyword
import sys
from pathlib import Path

import click

from vespiary.cli._configuration import needs_wasp
from vespiary.cli._help import Command
from vespiary.errors import ConfigurationError

__all__ = ["new"]


@click.command(cls=Command)
@click.argument("name")
def new(name: str) -> None:
    """Write a new plug-in project into the folder NAME: a plug-in, its tests, and a configuration.

    \b
    Example:
      vespiary new chat && cd chat && python -m pytest && vespiary run
    """  # noqa: D301 - click knows the character by which a paragraph keeps its lines.
    needs_wasp()
    from vespiary.wasp.templates import project_files

    _check(name)
    folder = Path(name)
    try:
        folder.mkdir()
        for file, text in project_files(name).items():
            (folder / file).write_text(text)
            click.echo(f"{folder / file}")
    except FileExistsError:
        raise ConfigurationError(
            f"{folder} exists already: choose another name, or remove it", subject=name
        ) from None
    except OSError as error:
        raise click.ClickException(
            f"{error.filename} cannot be written: {error.strerror}"
        ) from error


def _check(name: str) -> None:
    is_valid = name.isidentifier() and name.isascii() and not keyword.iskeyword(name)
    if not is_valid:
        near = "".join(one if one.isalnum() else "_" for one in name).strip("_").lower()
        advice = f": did you mean {near!r}?" if near.isidentifier() else ""
        raise ConfigurationError(f"{name!r} is not a valid Python identifier{advice}", subject=name)
    if name in sys.stdlib_module_names or name == "vespiary":
        raise ConfigurationError(
            f"{name!r} is the name of a module that already exists: choose another name",
            subject=name,
        )
