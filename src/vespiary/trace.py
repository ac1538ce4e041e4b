"""Marks: which line implements which requirement. They live in `vespiary_trace`, which see."""

from vespiary_trace import VARIABLE, Disabled, implements, requires, unmarked
from vespiary_trace.probes import (
    ANOTHER,
    CLAIM,
    DISABLED,
    FORCED,
    MARK,
    REPLACED,
    Slot,
    Table,
    TableError,
)

__all__ = ["ANOTHER", "CLAIM", "DISABLED", "FORCED", "MARK", "REPLACED", "VARIABLE"]
__all__ += ["Disabled", "Slot", "Table", "TableError"]
__all__ += ["implements", "requires", "unmarked"]
