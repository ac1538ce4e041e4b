"""Colours for a terminal, or none."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TextIO

__all__ = ["PLAIN", "Paint"]


@dataclass(frozen=True)
class Paint:
    """How to tell things to a person.

    Attributes:
        colours: Whether to use them (ECMA-48, select graphic rendition).
        lines: Whether lines and arrows beyond ASCII can be shown.
        columns: How wide it may be.
    """

    colours: bool = False
    lines: bool = True
    columns: int = 100

    @classmethod
    def of(cls, stream: TextIO) -> Paint:
        """What fits a stream: colours only on a terminal that has them, unless NO_COLOR is set."""
        is_terminal = stream.isatty()
        may = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        encoding = (stream.encoding or "").lower().replace("-", "")
        columns = cls.columns
        if is_terminal:
            try:
                columns = os.get_terminal_size(stream.fileno()).columns or columns
            except OSError:
                may = False
        return cls(is_terminal and may, encoding.startswith("utf"), max(60, min(columns, 120)))

    def _code(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colours else text

    def bad(self, text: str) -> str:
        """Something that must be looked at."""
        return self._code("1;31", text)

    def lock(self, text: str) -> str:
        """A lock's name."""
        return self._code("36", text)

    def thread(self, text: str) -> str:
        """A thread's name."""
        return self._code("35", text)

    def strong(self, text: str) -> str:
        """A heading."""
        return self._code("1", text)

    def faint(self, text: str) -> str:
        """What may be skipped."""
        return self._code("2", text)


PLAIN = Paint()
