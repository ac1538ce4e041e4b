"""The file with the number of a server's main process."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vespiary.wasp.configuration import Configuration

__all__ = ["kept_pid_file", "take_pid_file"]

logger = logging.getLogger("vespiary.wasp")


@contextlib.contextmanager
def kept_pid_file(configuration: Configuration, *, is_upgrade: bool) -> Iterator[None]:
    """Have a file with the number of this process for the time of the block.

    Args:
        configuration: It says where, if anywhere.
        is_upgrade: The file belongs to the process whose place this one takes, until
            `take_pid_file`.

    Raises:
        OSError: the file cannot be written.
    """
    if not is_upgrade:
        _write(configuration)
    try:
        yield
    finally:
        path = configuration.pid_file
        with contextlib.suppress(OSError):
            if path is not None and path.read_text().strip() == str(os.getpid()):
                path.unlink()


def take_pid_file(configuration: Configuration) -> None:
    """Write the number of this process instead of its predecessor's."""
    try:
        _write(configuration)
    except OSError as error:
        logger.warning("The file still has the old process: %s", error.strerror)


def _write(configuration: Configuration) -> None:
    if configuration.pid_file is not None:
        try:
            configuration.pid_file.write_text(f"{os.getpid()}\n")
        except OSError as error:
            text = f"pid_file {configuration.pid_file}: cannot be written: {error.strerror}"
            raise OSError(error.errno, text) from error
