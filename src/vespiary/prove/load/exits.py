"""The exit codes, in one table."""

from typing import Final

from vespiary.prove.exits import as_table

__all__ = ["EXPECTATION", "FAULT", "INTERRUPTED", "table"]

FAULT: Final = 1
"""Something was refused, lost, altered..., or the rate was not reached."""

EXPECTATION: Final = 3
"""There was no fault, and something that was expected was not met."""

INTERRUPTED: Final = 130
"""Stopped with Ctrl-C, SIGTERM or SIGHUP, and without a fault until then."""

_TABLE = (
    (0, "there was no fault that --expect does not allow, and every expectation was met"),
    (FAULT, "something was refused, lost, altered, reordered or added, a connection was not"),
    ("", "closed cleanly, or the rate was not reached"),
    (2, "the options are wrong, or this system cannot run the load; nothing was sent"),
    (EXPECTATION, "there was no fault, but a condition of --expect was not met"),
    (INTERRUPTED, "stopped with Ctrl-C, SIGTERM or SIGHUP, without a fault until then"),
)


def table() -> str:
    """The table, for people."""
    return as_table(_TABLE)
