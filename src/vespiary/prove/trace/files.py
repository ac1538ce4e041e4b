"""Read and write the tracer's files: as UTF-8 whatever the locale, and whole or not at all.

A run may be interrupted while it writes, and two may write at once: so a file is written beside its
place and then moved there.
"""

import contextlib
import os
import shutil
from pathlib import Path

from vespiary.errors import ConfigurationError

__all__ = ["read", "refuse_unwritable", "source", "write"]


def read(path: Path) -> str:
    """The text of a file.

    Raises:
        ConfigurationError: It cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{path} cannot be read: byte {error.start} is not UTF-8: save it as UTF-8"
        ) from error


def source(path: Path) -> str:
    """The text of a source, which may begin with a byte order mark and have other encodings."""
    return path.read_text("utf-8-sig", errors="replace")


def write(path: Path, text: str | bytes) -> None:
    """Write a file, and the folders above it.

    Raises:
        ConfigurationError: It cannot be written.
    """
    place = path.resolve()
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(text.encode() if isinstance(text, str) else text)
        if place.exists():
            shutil.copymode(place, beside)
        beside.replace(place)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def refuse_unwritable(path: Path) -> None:
    """Refuse a file that cannot be written, before the work whose result it is to have.

    Raises:
        ConfigurationError: Its folder, or the nearest above it that exists, is not writable.
    """
    place = path.resolve()
    folder = next((one for one in place.parents if one.exists()), place.parent)
    if place.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{path} cannot be written: {folder} is not a writable folder")
