"""Report a command that cannot be started as a shell does."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from vespiary.errors import ConfigurationError
from vespiary.prove import exits

__all__ = ["like_a_shell"]


@contextmanager
def like_a_shell(tool: str) -> Iterator[None]:
    """End with 127 if the command of the block is not found, with 126 if it cannot be executed.

    Other errors of configuration pass.
    """
    try:
        yield
    except ConfigurationError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        click.echo(f"vespiary {tool}: {error}", err=True)
        is_missing = isinstance(error.__cause__, FileNotFoundError)
        sys.exit(exits.NOT_FOUND if is_missing else exits.NOT_EXECUTABLE)
