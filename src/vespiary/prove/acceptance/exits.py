"""The exit codes of `vespiary prove`, in one table."""

from typing import Final

from vespiary.prove.exits import as_table

__all__ = ["ERROR", "FAILED", "INTERRUPTED", "table"]

FAILED: Final = 1
"""Something that was tested is wrong."""

ERROR: Final = 3
"""Something could not be tested."""

INTERRUPTED: Final = 130

_TABLE = (
    (0, "every case passed"),
    (FAILED, "a case failed"),
    (2, "the options or the suite file are wrong; nothing was run"),
    (ERROR, "no case failed, but one could not be run"),
    (INTERRUPTED, "stopped by Ctrl-C, SIGTERM or SIGHUP; everything was ended"),
)


def table() -> str:
    """The table, for people."""
    return as_table(_TABLE)
