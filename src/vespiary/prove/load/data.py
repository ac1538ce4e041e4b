"""Messages of one's own: the lines of a file, or the files of a folder."""

from __future__ import annotations

from pathlib import Path

from vespiary.errors import ConfigurationError

__all__ = ["read_messages"]


def read_messages(path: Path) -> tuple[bytes, ...]:
    """The messages: each line of a file without its end, or each file of a folder, by name.

    Raises:
        ConfigurationError: There is none, or they cannot be read.
    """
    try:
        if path.is_dir():
            files = sorted(each for each in path.iterdir() if each.is_file())
            messages = tuple(each.read_bytes() for each in files)
        else:
            messages = tuple(path.read_bytes().splitlines())
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename} cannot be read: {error.strerror}", subject="--data"
        ) from None
    if not messages:
        raise ConfigurationError(
            f"{path} has no messages: it must have at least one line or file",
            subject="--data",
            value=str(path),
        )
    return messages
