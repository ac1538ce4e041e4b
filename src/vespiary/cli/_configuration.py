"""The configuration file of `vespiary run` and of the commands for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from vespiary._counted import counted
from vespiary._toml_files import FileError
from vespiary.errors import ConfigurationError

__all__ = ["configuration_file", "needs_wasp", "reported"]

F = TypeVar("F", bound=Callable[..., Any])

WRONG_CONFIGURATION = 2
"""The exit code for a configuration that is not valid."""


def configuration_file(command: F) -> F:
    """Give a command the argument FILE."""
    argument = click.argument(
        "file", metavar="[FILE]", default="wasp.toml", type=click.Path(path_type=Path)
    )
    return argument(command)


def needs_wasp() -> None:
    """Check that what reads configurations is installed.

    Raises:
        ConfigurationError: it is not.
    """
    try:
        import msgspec  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "configuration files are read with msgspec: pip install 'vespiary[wasp]'",
            subject="msgspec",
        ) from None


@contextmanager
def reported() -> Iterator[None]:
    """Print what is wrong in a configuration, a line for each mistake, and end with 2."""
    needs_wasp()
    try:
        yield
    except FileError as error:
        for line in error.lines:
            click.echo(line, err=True)
        click.echo(f"{counted(len(error.lines), 'error')} in {error.subject}", err=True)
        sys.exit(WRONG_CONFIGURATION)
