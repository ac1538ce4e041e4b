"""Files as options, whether they can be written, and their writing."""

from collections.abc import Callable
from pathlib import Path

import click

from vespiary.errors import ConfigurationError

__all__ = ["FILE", "check_writable", "write", "write_all"]

FILE = click.Path(path_type=Path, dir_okay=False)


def check_writable(*paths: Path | None) -> None:
    """Find out before a run, which may take an hour, whether its reports can be written.

    Raises:
        ConfigurationError: one cannot be written.
    """
    for path in filter(None, paths):
        try:
            is_new = not path.exists()
            with path.open("a"):
                pass
            if is_new:
                path.unlink()
        except OSError as error:
            raise ConfigurationError(
                f"{path} cannot be written: {error.strerror}; nothing was run", subject=str(path)
            ) from None


def write(path: Path, text: str) -> None:
    """Write a report, after all that is printed: the disk may have become full meanwhile.

    Bytes of a command or a file's name that are not UTF-8 are written as escapes.

    Raises:
        ConfigurationError: it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigurationError(
            f"{path} could not be written: {error.strerror}", subject=str(path)
        ) from None


def write_all(*reports: tuple[Path | None, Callable[[], str]]) -> None:
    """Write each report that has a path; one that cannot be written does not stop the others.

    Raises:
        ConfigurationError: one or more cannot be written.
    """
    failed: list[ConfigurationError] = []
    for path, text in reports:
        if path is not None:
            try:
                write(path, text())
            except ConfigurationError as error:
                failed.append(error)
    if failed:
        raise ConfigurationError("\n".join(map(str, failed)), subject=failed[0].subject)
