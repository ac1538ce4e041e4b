"""The exit codes, in one table."""

from typing import Final

from vespiary.prove.exits import NOT_EXECUTABLE, NOT_FOUND, as_table

__all__ = ["ALARM", "UNABLE", "table"]

ALARM: Final = 110
"""An alarm was reached."""

UNABLE: Final = 2
"""The options are wrong, or the kernel does not allow what was asked for."""

_TABLE = (
    (0, "no alarm was reached, even after Ctrl-C or SIGTERM"),
    (UNABLE, "the options are wrong, or this system does not allow them"),
    (ALARM, "an alarm was reached"),
    (NOT_EXECUTABLE, "COMMAND was found and cannot be executed"),
    (NOT_FOUND, "COMMAND was not found"),
    ("else", "the code of COMMAND; 128 + N if signal N ended it"),
)


def table() -> str:
    """The table, for people."""
    return as_table(_TABLE)
