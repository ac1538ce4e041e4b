"""Exit codes of the tools that run a command, and how a table of them is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["NOT_EXECUTABLE", "NOT_FOUND", "as_table", "of_status"]

NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
"""The command cannot be run, as shells report it."""


def of_status(status: int) -> int:
    """The exit code for a status as `subprocess` has it: 128 + N when signal N ended it."""
    return status if status >= 0 else 128 - status


def as_table(rows: Sequence[tuple[int | str, str]]) -> str:
    """Codes and their meanings, a line each, for `--help`."""
    width = max(len(str(code)) for code, _ in rows)
    return "\n".join(f"  {code:<{width}}  {meaning}" for code, meaning in rows)
