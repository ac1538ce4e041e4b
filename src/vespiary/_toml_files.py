"""TOML files that people write: what is wrong in one is reported with file, line and key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vespiary import _toml as toml
from vespiary._printable import escaped
from vespiary._toml_lines import Path as KeyPath
from vespiary._toml_lines import lines_of_keys
from vespiary.errors import ConfigurationError

__all__ = ["FileError", "KeyPath", "Problem", "dotted", "line_of", "lines_of_keys", "parsed"]


@dataclass(frozen=True)
class Problem:
    """Something that is wrong.

    Attributes:
        path: Where.
        text: What, and what was expected.
    """

    path: KeyPath
    text: str


class FileError(ConfigurationError):
    """A file is wrong.

    Attributes:
        lines: Each problem, with file, line and key.
    """

    def __init__(self, path: Path, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines), subject=str(path))
        self.lines = lines


_CHARACTERS_MAX = 16 << 20
"""Far more than any such file has; a device such as /dev/zero has no end."""


def parsed(path: Path, error: type[FileError] = FileError) -> tuple[str, dict[str, Any]]:
    """Read a file: its text, and what it says.

    Raises:
        FileError: it cannot be read, or is not TOML; of the given class.
    """
    text = ""
    try:
        with path.open(encoding="utf-8-sig") as file:  # Some editors write a byte order mark.
            text = file.read(_CHARACTERS_MAX + 1)
        if len(text) > _CHARACTERS_MAX:
            raise error(path, [f"{path}: is too large for such a file: is it the right one?"])
        data = toml.loads(text)
    except OSError as fault:
        raise error(path, [f"{path}: cannot be read: {fault.strerror}"]) from fault
    except UnicodeDecodeError as fault:
        raise error(path, [f"{path}:{_line_of_fault(path)}: is not valid UTF-8 text"]) from fault
    except tomllib.TOMLDecodeError as fault:
        match = re.search(r"(.*) \(at line (\d+), column (\d+)\)$", str(fault))
        what, number = (match[1], match[2]) if match else (str(fault), "1")
        if match is None and str(fault).endswith("(at end of document)"):
            number = str(max(1, len(text.splitlines())))
        raise error(path, [f"{path}:{number}: is not valid TOML: {what}"]) from fault
    return text, data


def _line_of_fault(path: Path) -> int:
    """The first line that is not UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def line_of(lines: Mapping[KeyPath, int], place: KeyPath) -> int:
    """The line of a key; of the table around it if the key is not there."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)


def dotted(path: KeyPath) -> str:
    """A path as people write it: `cases.echo.clients[0].load`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{_printed(part)}"
    return text.removeprefix(".") or "the file"


def _printed(key: str) -> str:
    """A key for one line, in quotes if it could not be seen without them."""
    return key if key.strip() and key.isprintable() else f'"{escaped(key)}"'
