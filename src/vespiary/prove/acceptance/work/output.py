"""What a program writes: a file that is searched while it grows, and is never read as a whole.

A program may write gigabytes, and a case waits for a line of it. So a search goes through the file
in pieces, and continues where it was when it is repeated. Each piece overlaps the one before, so
that an expression can match several lines: of less than `_OVERLAP_BYTES` bytes together. A match
that is longer than a piece is not found.
"""

from __future__ import annotations

import re
from pathlib import Path

from vespiary.prove.acceptance.values import Pattern

__all__ = ["Output", "Search", "last_of", "tail"]

_PIECE_BYTES = 4 << 20
_OVERLAP_BYTES = 64 << 10
_ENDING_BYTES = 256 << 10
_TAIL_LINES = 25
_TAIL_CHARACTERS_MAX = 8000


class Output:
    """The file with a program's output."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def search(self, pattern: Pattern) -> Search:
        """A search that can be repeated."""
        return Search(self._path, pattern)

    def finds(self, pattern: Pattern) -> re.Match[str] | None:
        """Where the expression matches first; the string of the match is a piece of the output."""
        return self.search(pattern).look()

    def ending(self, bytes_max: int = _ENDING_BYTES) -> str:
        """The last lines, up to so many bytes."""
        return last_of(self._path, bytes_max)[0]


class Search:
    """A search for one expression, which continues where it ended.

    Attributes:
        pattern: The expression.
    """

    def __init__(self, path: Path, pattern: Pattern) -> None:
        self.pattern = pattern
        self._path = path
        self._compiled = re.compile(pattern, re.MULTILINE)
        self._at = 0
        self._found: re.Match[str] | None = None

    def look(self) -> re.Match[str] | None:
        """The first match in what has been written so far; None while there is none."""
        if self._found is None:
            self._found = self._continue()
        return self._found

    def _continue(self) -> re.Match[str] | None:
        with self._path.open("rb") as file:
            while True:
                # With the byte before it, so that ^ matches only where a line begins.
                before = min(1, self._at)
                file.seek(self._at - before)
                piece = file.read(_PIECE_BYTES)
                is_last = len(piece) < _PIECE_BYTES
                end = len(piece) if is_last else _end_of_lines(piece)
                found = self._compiled.search(piece[:end].decode(errors="replace"), before)
                self._at += max(0, end - before - _OVERLAP_BYTES)
                if found is not None or is_last:
                    return found


def _end_of_lines(piece: bytes) -> int:
    """Where the last whole line ends, so that $ matches only there; the end in a very long line."""
    end = piece.rfind(b"\n") + 1
    return end if end > 2 * _OVERLAP_BYTES else len(piece)


def last_of(path: Path, bytes_max: int) -> tuple[str, int]:
    """The last lines of a file, up to so many bytes, and how many bytes are before them."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        omitted = max(0, size - bytes_max)
        file.seek(omitted)
        data = file.read(bytes_max)
    if omitted:
        cut = data.find(b"\n") + 1
        data, omitted = data[cut:], omitted + cut
    return data.decode(errors="replace"), omitted


def tail(text: str) -> str:
    """The last lines of an output, and no more than a reader can take in."""
    return "\n".join(text.splitlines()[-_TAIL_LINES:])[-_TAIL_CHARACTERS_MAX:]
