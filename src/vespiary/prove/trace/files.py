"""Read and write the tracer's files: as UTF-8 whatever the locale, and whole or not at all.

A run may be interrupted while it writes, and two may write at once: so a file is written next to
its place and then moved there.
"""

import codecs
import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from vespiary.errors import ConfigurationError

__all__ = ["raw", "read", "refuse_unwritable", "source", "specification", "write"]


_BYTES_MAX = 64 << 20
"""Far more than any file of the tracer has; a device such as /dev/zero has no end."""


def read(path: Path) -> str:
    """The text of a file.

    Raises:
        ConfigurationError: It cannot be read, is not UTF-8, or has no end, as a device.
    """
    try:
        text = raw(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{path} cannot be read: byte {error.start} is not UTF-8: save it as UTF-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def specification(path: Path) -> str:
    """The text of a specification, in whichever encoding it says it has.

    Raises:
        ConfigurationError: It cannot be read, or is not a text.
    """
    data = raw(path)
    is_utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if is_utf_16 else "utf-8-sig", errors="replace")
    if "\0" in text:
        raise ConfigurationError(
            f"{path} is not a text file: pass plain text, Markdown, HTML or XML"
        )
    return text


def raw(path: Path) -> bytes:
    """What a file or a pipe has, if it has an end within `_BYTES_MAX`.

    Raises:
        ConfigurationError: It cannot be read, or has no end, as a device.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _BYTES_MAX:
        raise ConfigurationError(
            f"{path} cannot be read: it has more than {_BYTES_MAX >> 20} MiB; is it the right file?"
        )
    return data


def source(path: Path) -> str:
    """The text of a source, which may begin with a byte order mark and have other encodings."""
    return path.read_text("utf-8-sig", errors="replace")


def write(path: Path, text: str | bytes) -> None:
    """Write a file, and the folders above it.

    Raises:
        ConfigurationError: It cannot be written.
    """
    place = path.resolve()
    data = text.encode() if isinstance(text, str) else text
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        if place.exists() and not place.is_file():
            place.write_bytes(data)  # A device or a pipe, which nothing may replace.
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(data)
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
        ConfigurationError: It is a folder, or the nearest one above it takes no files.
    """
    place = path.resolve()
    if place.is_dir():
        raise ConfigurationError(f"{path} cannot be written: it is a folder")
    folder = next((one for one in place.parents if one.exists()), place.parent)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {folder} takes no files: {error.strerror}"
        ) from error
