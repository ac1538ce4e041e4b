"""Marks: which line implements which requirement. They live in `vespiary_trace`, which see."""

from vespiary_trace import VARIABLE, Disabled, implements, requires, unmarked
from vespiary_trace.probes import CLAIM, MARK, Slot, Table, TableError

__all__ = ["CLAIM", "MARK", "VARIABLE", "Disabled", "Slot", "Table", "TableError"]
__all__ += ["implements", "requires", "unmarked"]
