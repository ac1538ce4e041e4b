"""The results of the full mode as text: which locks were waited for, how long and why."""

from __future__ import annotations

from collections.abc import Iterable

from vespiary._counted import counted
from vespiary.prove.locks import sources
from vespiary.prove.locks.statistics import Group, Place, Statistics

__all__ = ["duration", "figures"]

_LOCKS_MAX = 10
_CONVOYS_MAX = 3


def duration(nanoseconds: int) -> str:
    """A time with three digits and the unit that fits."""
    for unit, size in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds} ns"


def figures(of: Statistics) -> list[str]:
    """The lines about one process."""
    lines = [
        "",
        f"  process {of.process}: {counted(of.acquisitions, 'acquisition')} kept in"
        f" {duration(of.span_ns)}",
        *_table(of.locks[:_LOCKS_MAX]),
    ]
    if len(of.locks) > _LOCKS_MAX:
        lines.append(
            f"    ... {counted(len(of.locks) - _LOCKS_MAX, 'more lock')} (--json or --html has all)"
        )
    if of.lost:
        lines.append(f"    {of.lost:,} later ones found no room: --full-max allows more")
    for convoy in [each for each in of.locks if each.is_convoy][:_CONVOYS_MAX]:
        lines += ["", *_convoy(convoy)]
    return lines


def _table(groups: Iterable[Group]) -> list[str]:
    rows = [("taken", "waited", "wait total", "max", "hold total", "max", "lock")]
    rows += [
        (
            f"{each.acquisitions:,}",
            f"{each.wait.count:,}",
            duration(each.wait.total_ns),
            duration(each.wait.max_ns),
            duration(each.hold.total_ns),
            duration(each.hold.max_ns),
            each.name,
        )
        for each in groups
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    return [
        "    "
        + "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=False))
        + f"  {row[6]}"
        for row in rows
    ]


def _convoy(group: Group) -> list[str]:
    lines = [
        f"    {group.name}: threads queued for it, up to {group.queue_max} at a time, for"
        f" {duration(group.wait.total_ns)} in all"
    ]
    lines += [f"      held longest {_place(place)}" for place in group.holds_at[:2]]
    lines += [f"      waited for longest {_place(place)}" for place in group.waits_at[:2]]
    return lines


def _place(place: Place) -> str:
    where = sources.first_own(place.stack) or "an unknown place"
    return f"at {where}: {duration(place.total_ns)} in {place.count:,} times"
