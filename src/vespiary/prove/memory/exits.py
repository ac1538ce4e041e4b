"""The exit codes, in one table. They are used besides those of the program itself.

They are below those that shells use for a command that cannot be run, and for signals.
"""

from vespiary.prove.exits import NOT_EXECUTABLE, NOT_FOUND, as_table

__all__ = ["EXPECTATION", "LIMIT", "NOT_JUDGED", "table"]

LIMIT = 120
"""The limit was exceeded, and the program ended."""

EXPECTATION = 121
"""The program ended with 0, and used more or grew more than expected."""

NOT_JUDGED = 122
"""The program ended with 0, and too little is known to compare it with what is expected."""

_TABLE = (
    ("the program's own", "limit and expectations were met; 128 + N if signal N ended the program"),
    (2, "the options, or a file that they name, are wrong; nothing was run"),
    (LIMIT, "the limit was exceeded, after which the program was killed"),
    (EXPECTATION, "the program exited with 0, but its peak or slope is higher than expected"),
    (
        NOT_JUDGED,
        "with --slope or --expect: the program exited with 0, but its slope is too uncertain",
    ),
    (NOT_EXECUTABLE, "the command was found and cannot be executed"),
    (NOT_FOUND, "the command was not found"),
)


def table() -> str:
    """The table, for people."""
    return as_table(_TABLE)
