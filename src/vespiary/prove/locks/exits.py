"""The exit codes, in one table. They are used besides those of the program itself.

They are below those that shells use for a command that cannot be run, and for signals.
"""

from vespiary.prove.exits import NOT_EXECUTABLE, NOT_FOUND, as_table

__all__ = ["CODES", "DEADLOCK", "NOTHING_COVERED", "STALL", "table"]

CODES = {"inversion": 120, "deadlock": 121, "misuse": 122, "stall": 123}
"""Those of findings; the worst one's counts."""

DEADLOCK = CODES["deadlock"]
STALL = CODES["stall"]

NOTHING_COVERED = 124
"""No lock operation was seen, so that nothing can be said."""

_TABLE = (
    ("the program's own", "no finding; 128 + N if signal N ended the program"),
    (2, "the options, or a file that they name, are wrong; or a report could not be written"),
    (CODES["inversion"], "an inversion: lock orders that could deadlock"),
    (DEADLOCK, "a deadlock, after which the program was killed"),
    (CODES["misuse"], "misuse of a lock"),
    (STALL, "a stall in which the lock's holder seemed to be blocked forever"),
    (NOTHING_COVERED, "the program exited with 0, but no lock operation was seen"),
    (NOT_EXECUTABLE, "the command was found and cannot be executed"),
    (NOT_FOUND, "the command was not found"),
)


def table() -> str:
    """The table, for people."""
    return as_table(_TABLE)
