"""What the record of a process shows that was not covered in it."""

from __future__ import annotations

from collections import Counter

from vespiary.prove.locks.gaps import Gap
from vespiary.prove.locks.layout import CLOCK_MAX
from vespiary.prove.locks.record import Record

__all__ = ["unseen"]


def unseen(record: Record) -> Counter[Gap]:
    """Notifications that this process may have made, and that are not recorded."""
    tasks = {thread.number for thread in record.threads() if thread.carrier is not None}
    if not any(edge.index is None and edge.thread not in tasks for edge in record.edges()):
        return Counter()
    why = f"notifications of threads after the first {CLOCK_MAX} that have a lock order"
    return Counter([Gap("code", why, f"process {record.pid}")])
