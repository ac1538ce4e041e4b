"""Temporary folders of runs, and those that killed runs have left.

A process that gets SIGKILL removes nothing. So a run holds a lock (flock(2)) on its folder while it
runs. The kernel releases the lock when the process ends, in any way. The next run that creates a
folder next to it removes the folders that are not locked. Process numbers would not be enough: they
are used again, and mean other processes in another container that shares the folder.

Another run can find a new folder before it is locked. That run removes it while it holds the lock.
So after locking its folder, a run checks whether the folder still exists, and otherwise creates
another one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from vespiary.errors import ConfigurationError

__all__ = ["SUFFIX", "Held", "dead", "hold"]

SUFFIX = ".run"
"""Of the names of folders that are held; others are never removed."""

_PREFIX = "vespiary-"


def hold(make: Callable[[], Path]) -> tuple[Path, int]:
    """Make a folder, and hold it.

    Args:
        make: Makes a new folder.

    Returns:
        The folder, and the descriptor that holds it until it is closed.
    """
    while True:
        path = make()
        with contextlib.suppress(FileNotFoundError):
            descriptor = _opened(path)
            with contextlib.suppress(OSError):  # Where there are no locks, nothing is removed.
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            if _is_there(path, descriptor):
                return path, descriptor
            os.close(descriptor)


def dead(parent: Path, prefix: str) -> Iterator[Path]:
    """The folders of this user that nobody holds; each is locked while it is yielded.

    Args:
        parent: Where they are.
        prefix: What their names begin with.
    """
    for path in list(parent.glob(f"{prefix}*{SUFFIX}")):
        try:
            descriptor = _opened(path)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_uid == os.geteuid() and _is_there(path, descriptor):
                yield path
        except OSError:  # It is held, or its file system has no locks.
            continue
        finally:
            os.close(descriptor)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _is_there(path: Path, descriptor: int) -> bool:
    """Whether the folder of this name is the one that was opened."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _temporary() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        raise ConfigurationError(
            "no temporary folder can be written to: set TMPDIR to one with free space",
            subject="TMPDIR",
        ) from None


class Held:
    """A temporary folder of this run, which is removed in the end.

    Attributes:
        path: The folder.
    """

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        """Make it, and remove those of dead runs next to it.

        Args:
            prefix: What its name begins with.
            parent: Where it is made; by default where temporary folders are.

        Raises:
            ConfigurationError: there is no place for temporary folders.
        """
        parent = parent or _temporary()
        for path in dead(parent, _PREFIX):
            shutil.rmtree(path, ignore_errors=True)
        self.path, self._descriptor = hold(lambda: Path(tempfile.mkdtemp(SUFFIX, prefix, parent)))

    def fileno(self) -> int:
        """The descriptor that holds it."""
        return self._descriptor

    def __enter__(self) -> Self:
        """Nothing is to be done."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Remove it."""
        self.close()

    def close(self) -> None:
        """Remove it, if it is still there."""
        if self._descriptor >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._descriptor)
            self._descriptor = -1
