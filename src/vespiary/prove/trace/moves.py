"""What has changed since it was proven, in as few sentences as say it.

A file that is renamed changes every mark and claim in it. Each is gone from one place and new at
another, so the two are put together by their identifiers, and one sentence per file remains.
"""

import difflib
from collections import defaultdict
from collections.abc import Collection, Iterable

from vespiary._counted import counted
from vespiary.prove.trace.marks import Problem
from vespiary.prove.trace.proving.record import Source
from vespiary.prove.trace.proving.sameness import Changed, prove_again

__all__ = ["problems_of"]

_SHOWN_MAX = 3

Pair = tuple[Source, Source]
"""A mark or claim where it was, and where it is now."""


def problems_of(changed: Iterable[Changed], files: Collection[str]) -> list[Problem]:
    """A problem for each file or function that was renamed, and for each other change.

    Args:
        changed: What has changed.
        files: The sources with marks or claims, as they are called now.
    """
    every = list(changed)
    pairs = _pairs(every)
    paired = {id(source) for pair in pairs for source in pair}
    rest = [one for one in every if id(one.source) not in paired]
    lost: dict[str, list[Source]] = defaultdict(list)
    for one in rest:
        if one.gone and one.source.file not in files:
            lost[one.source.file].append(one.source)
    return [
        *_moved(pairs),
        *(_lost(file, sources, files) for file, sources in lost.items()),
        *(
            Problem(one.source.site, one.words)
            for one in rest
            if not (one.gone and one.source.file in lost)
        ),
    ]


def _pairs(changed: list[Changed]) -> list[Pair]:
    """What is gone, each with what is new and has its identifier; functions of its name first."""
    new: dict[tuple[str, str], list[Source]] = defaultdict(list)
    for one in changed:
        if not one.gone and one.source.kind != "sentence":
            new[one.source.kind, one.source.id].append(one.source)
    gone = [one.source for one in changed if one.gone]
    found: list[Pair] = []
    for is_like in (
        lambda old, now: old.function == now.function,
        lambda old, now: old.file == now.file,
        lambda old, now: True,
    ):
        for old in list(gone):
            there = new[old.kind, old.id]
            now = next((one for one in there if is_like(old, one)), None)
            if now is not None:
                there.remove(now)
                gone.remove(old)
                found.append((old, now))
    return found


def _moved(pairs: list[Pair]) -> list[Problem]:
    """A sentence for each file from which something has moved, and each in which it is renamed."""
    groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for old, now in pairs:
        groups[old.file, now.file].append((old, now))
    found = []
    for (file, place), group in groups.items():
        advice = prove_again(old.id for old, _ in group)
        if file != place:
            words = f"{_count(old for old, _ in group)} moved from here to {place}"
        else:
            names = {(old.function or "the file", now.function or "the file"): None
                     for old, now in group}  # fmt: skip
            shown = [f"{then} is now {name}" for then, name in list(names)[:_SHOWN_MAX]]
            more = len(names) - _SHOWN_MAX
            words = ", ".join(shown) + (f", and {more} more were renamed" if more > 0 else "")
        found.append(Problem(file, f"{words}: {advice}"))
    return found


def _lost(file: str, sources: list[Source], files: Collection[str]) -> Problem:
    """One sentence on a file of which nothing is left."""
    near = difflib.get_close_matches(file, files, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    names = sorted({source.id for source in sources})
    few = ", ".join(names[:_SHOWN_MAX])
    more = f" and {len(names) - _SHOWN_MAX} more" if len(names) > _SHOWN_MAX else ""
    is_one = len(sources) == 1
    verb, them = ("exists", "it") if is_one else ("exist", "them")
    return Problem(
        file,
        f"{_count(sources)} of {few}{more} no longer {verb} here{meant}: restore {them}, or run"
        " vespiary trace prove",
    )


def _count(sources: Iterable[Source]) -> str:
    kinds = [source.kind for source in sources]
    counts = [counted(kinds.count(kind), kind) for kind in ("mark", "claim") if kind in kinds]
    return " and ".join(counts)
