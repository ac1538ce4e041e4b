"""Read configuration files: the main one, and those that it includes, as one.

Each key keeps its file and line, for errors and for paths, which are relative to the file that has
them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vespiary._suggestions import advice
from vespiary._toml import as_toml
from vespiary._toml_files import FileError, KeyPath, Problem, dotted, lines_of_keys, parsed
from vespiary.wasp.substitution import substitute

__all__ = ["Source", "read_source"]

_FILES_MAX = 1000


@dataclass(slots=True)
class Source:
    """What the files say, and where.

    Attributes:
        path: The main file.
        data: What they say together, after substitution.
        places: The file and the line of each key.
        written: Texts with `${...}`, as they are in the file.
        files: Every file that was read.
        unknown: Where a text has no value, because what it names is missing.
        faults: What is wrong, by file and line.
    """

    path: Path
    data: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, tuple[Path, int]] = field(default_factory=dict)
    written: dict[KeyPath, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    unknown: set[KeyPath] = field(default_factory=set)
    faults: list[tuple[Path, int, str]] = field(default_factory=list)

    def place_of(self, path: KeyPath) -> tuple[Path, int]:
        """The file and line of a key; of the table around it if the key is not there."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (self.path, 1))

    def folder_of(self, path: KeyPath) -> Path:
        """The folder that a path written at a key is relative to."""
        return self.place_of(path)[0].parent

    def report(self, problem: Problem) -> None:
        """Add something that is wrong, unless it follows from what was reported before."""
        if problem.path in self.unknown:
            return
        file, line = self.place_of(problem.path)
        self.fault(file, line, f"{dotted(problem.path)}: {problem.text}")

    def fault(self, file: Path, line: int, text: str) -> None:
        """Add something that is wrong at a place."""
        self.faults.append((file, line, text))

    def shown(self, path: KeyPath, value: object) -> str:
        """A value for an error; a secret that was substituted stays one."""
        return as_toml(self.written.get(path, value))

    def check(self) -> None:
        """Report everything that is wrong.

        Raises:
            FileError: something is.
        """
        if self.faults:
            order = {file: number for number, file in enumerate(self.files)}
            found = sorted(self.faults, key=lambda one: (order.get(one[0], 0), one[1]))
            lines = [f"{file}:{line}: {text}" for file, line, text in found]
            raise FileError(self.path, list(dict.fromkeys(lines)))


def read_source(path: Path, environment: Mapping[str, str] = os.environ) -> Source:
    """Read a configuration file with those that it includes.

    Mistakes in included files are added to the result.

    Raises:
        FileError: the main file cannot be read, or is not TOML.
    """
    try:
        path.stat()
    except FileNotFoundError:
        raise FileError(path, [f"{path}: cannot be read: {_absent(path)}"]) from None
    except OSError as error:
        raise FileError(path, [f"{path}: cannot be read: {error.strerror}"]) from None
    source = Source(path)
    _read(source, path, environment, ())
    return source


def _absent(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder}"
    near = sorted(one.name for one in folder.glob("*.toml"))
    return f"there is no such file; {advice(path.name, near)}" if near else "there is no such file"


def _read(
    source: Source, path: Path, environment: Mapping[str, str], above: tuple[Path, ...]
) -> None:
    text, data = parsed(path)
    source.files.append(path)
    lines = lines_of_keys(text)
    data, written, problems = substitute(data, path.parent.absolute(), environment)
    for problem in problems:
        source.unknown.add(problem.path)
        line = lines.get(problem.path, 1)
        source.fault(path, line, f"{dotted(problem.path)}: {problem.text}")
    included = data.pop("include", [])
    for key, value in data.items():
        _merge(source, path, lines, key, value)
    for key_path, line in lines.items():
        source.places.setdefault(key_path, (path, line))
    for key_path, as_written in written.items():
        source.written.setdefault(key_path, as_written)
    if not isinstance(included, list) or not all(isinstance(one, str) for one in included):
        text = f"include: {_WANTED}; got {as_toml(included)}"
        source.fault(path, lines.get(("include",), 1), text)
        return
    for number, pattern in enumerate(included):
        line = lines.get(("include", number), lines.get(("include",), 1))
        for file in _included(source, path, line, pattern, above):
            try:
                _read(source, file, environment, (*above, path))
            except FileError as error:
                source.files.append(file)
                where, _, words = error.lines[0].removeprefix(f"{file}:").partition(": ")
                is_numbered = where.isdigit()
                source.fault(file, int(where) if is_numbered else 1, words or error.lines[0])


_WANTED = "expected a list of files, such as ['endpoints/*.toml']"


def _merge(source: Source, path: Path, lines: dict[KeyPath, int], key: str, value: Any) -> None:
    """Add a key of a file to those of the files before it."""
    known = source.data.get(key)
    if key == "endpoints" and isinstance(known, dict) and isinstance(value, dict):
        for name, endpoint in value.items():
            place: KeyPath = (key, name)
            if name in known:
                file, line = source.place_of(place)
                text = f"{dotted(place)}: is in {file}:{line} too: give it another name"
                source.fault(path, lines.get(place, 1), text)
            else:
                known[name] = endpoint
    elif key in source.data:
        file, line = source.place_of((key,))
        text = f"{key}: is in {file}:{line} too: write it in one file"
        source.fault(path, lines.get((key,), 1), text)
    else:
        source.data[key] = value


def _is_file(path: Path) -> bool:
    """Whether there is a file; one in a folder that may not be searched is reported when read."""
    try:
        return path.is_file()
    except OSError:
        return True


def _included(
    source: Source, path: Path, line: int, pattern: str, above: tuple[Path, ...]
) -> list[Path]:
    """The files of an entry of `include`, in the order of their names."""
    if any(character in pattern for character in "*?["):
        is_absolute = Path(pattern).is_absolute()
        base = Path("/") if is_absolute else path.parent
        found = sorted(base.glob(pattern.lstrip("/") if is_absolute else pattern))
    else:
        found = [path.parent / pattern]
    files = []
    for file in found:
        if not _is_file(file):
            text = f"include: {file}: {_absent(file)}"
            source.fault(path, line, text)
        elif file.resolve() in {one.resolve() for one in (*above, path)}:
            source.fault(path, line, f"include: {file} includes itself: remove it here or there")
        elif len(source.files) >= _FILES_MAX:
            source.fault(
                path, line, f"include: {file} is one file too many: {_FILES_MAX} may be read"
            )
        else:
            files.append(file)
    return files
