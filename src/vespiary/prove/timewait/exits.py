"""The exit codes, in one table."""

from typing import Final

__all__ = ["ALARM", "UNABLE", "table"]

ALARM: Final = 110
"""An alarm was reached."""

UNABLE: Final = 2
"""The options make no sense, or the kernel does not allow what was asked for."""

_TABLE = (
    (0, "no alarm was reached; also after Ctrl-C"),
    (UNABLE, "the options make no sense, or this system does not allow what they ask for"),
    (ALARM, "an alarm was reached"),
)


def table() -> str:
    """The table, for people."""
    return "\n".join(f"  {code:<4} {meaning}" for code, meaning in _TABLE)
