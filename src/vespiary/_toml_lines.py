"""The line of each key and each element of an array in a TOML text.

`tomllib` reads the values, but reports no positions. The text was read by it before, so it is
valid, and nothing is checked here: this module only follows keys, brackets and strings.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

__all__ = ["Path", "lines_of_keys"]

Path = tuple[str | int, ...]
"""Keys, and numbers of elements, from the top of the file."""

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"[A-Za-z0-9_-]+|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*'")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|'
    r"'''.*?'{3,5}|"
    r'"(?:\\.|[^"\\\n])*"|'
    r"'[^'\n]*'",
    re.DOTALL,
)
_BARE = re.compile(r"[^,\]}\n#]+")


def lines_of_keys(text: str) -> dict[Path, int]:
    """The line, from 1, of each key and element by its path."""
    return dict(_Scanner(text).scan())


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._arrays: dict[Path, int] = {}

    def scan(self) -> Iterator[tuple[Path, int]]:
        """Go through the whole text."""
        table: Path = ()
        while self._skip(_SPACE) and self._at < len(self._text):
            line = self._line()
            if self._text[self._at] == "[":
                is_array = self._text.startswith("[[", self._at)
                self._at += 2 if is_array else 1
                table = self._resolve(self._keys())
                if is_array:
                    number = self._arrays.get(table, -1) + 1
                    self._arrays[table] = number
                    yield table, line
                    table = (*table, number)
                yield table, line
                self._at += 2 if is_array else 1
            else:
                yield from self._pair(table)

    def _resolve(self, keys: Path) -> Path:
        """A header's path; a name of an array of tables means its last element."""
        path: Path = ()
        for number, key in enumerate(keys):
            path = (*path, key)
            if path in self._arrays and number < len(keys) - 1:
                path = (*path, self._arrays[path])
        return path

    def _pair(self, table: Path) -> Iterator[tuple[Path, int]]:
        """A key with its value, and what is in the value."""
        line = self._line()
        path = table
        for key in self._keys():
            path = (*path, key)
            yield path, line
        self._at += 1  # The equals sign.
        yield from self._value(path)

    def _value(self, path: Path) -> Iterator[tuple[Path, int]]:
        self._skip(_SPACE)
        first = self._text[self._at]
        if first == "[":
            yield from self._array(path)
        elif first == "{":
            yield from self._table(path)
        elif first in "\"'":
            self._skip(_STRING)
        else:
            self._skip(_BARE)

    def _array(self, path: Path) -> Iterator[tuple[Path, int]]:
        self._at += 1
        number = 0
        while not self._closes("]"):
            yield (*path, number), self._line()
            yield from self._value((*path, number))
            number += 1

    def _table(self, path: Path) -> Iterator[tuple[Path, int]]:
        self._at += 1
        while not self._closes("}"):
            yield from self._pair(path)

    def _closes(self, bracket: str) -> bool:
        """Whether the bracket comes next, which is taken; a comma before it is skipped."""
        self._skip(_SPACE)
        if self._text[self._at] == ",":
            self._at += 1
            self._skip(_SPACE)
        if self._text[self._at] != bracket:
            return False
        self._at += 1
        return True

    def _keys(self) -> Path:
        """A dotted key."""
        keys: list[str] = []
        while True:
            self._skip(_SPACE)
            match = _KEY.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            keys.append(_unquoted(match[0]))
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return tuple(keys)
            self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return True

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1


def _unquoted(key: str) -> str:
    """What a key means."""
    if key.startswith('"'):
        text: str = tomllib.loads(f"key = {key}")["key"]
        return text
    return key.strip("'")
