"""Change the identifiers of marks and claims after a revision has moved their requirements.

A catalogue says of each such requirement where it was (`moved_from`). All changes are made at once,
because the new number of one requirement is often the old one of another; and once only, because
afterwards nothing says which of them is meant. So `moved_from` goes with them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vespiary._counted import counted
from vespiary.errors import ConfigurationError
from vespiary.prove.trace.catalogue import Catalogue, load
from vespiary.prove.trace.files import read
from vespiary.prove.trace.marks import Mark
from vespiary.prove.trace.scan import scan_sources
from vespiary.prove.trace.settings import Settings, read_settings

__all__ = ["Change", "refuse_moved_marks", "renamed"]

_MOVED_FROM = re.compile(r"^moved_from\s*=.*\n", re.MULTILINE)
_REFERENCE = re.compile(r'^((?:same_as|near)\s*=\s*)("[^"]*")', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Change:
    """What a file should be.

    Attributes:
        count: How many identifiers change in it.
    """

    path: Path
    data: bytes
    count: int


def renamed(settings: Settings) -> list[Change]:
    """The files that change; none if no requirement has moved.

    Raises:
        ConfigurationError: The settings or a catalogue are wrong, or a mark has the number of a
            requirement that has vanished, which would then be the number of another one.
    """
    catalogues = settings.files(settings.catalogues)
    moved = {
        requirement.moved_from: requirement.id
        for path in catalogues
        for requirement in load(path).requirements
        if requirement.moved_from
    }
    if not moved:
        return []
    marks = scan_sources(settings).marks
    _refuse_vanished(marks, moved, [load(path) for path in catalogues])
    files = {settings.root / mark.file for mark in marks}
    if settings.confirmations:
        files.add(settings.root / settings.confirmations)
    changes = [_changed(path, moved) for path in sorted(files) if path.exists()]
    changes = [change for change in changes if change.count]
    for path in catalogues:
        before = read(path)
        text = _REFERENCE.sub(lambda found: found[1] + _renamed(found[2], moved), before)
        text = _MOVED_FROM.sub("", text)
        if text != before:
            changes.append(Change(path, text.encode(), 0))
    return changes


def _refuse_vanished(
    marks: Iterable[Mark], moved: dict[str, str], catalogues: Iterable[Catalogue]
) -> None:
    """Refuse to mix the marks of a vanished requirement with those of the one that has its number.

    Raises:
        ConfigurationError: With the first such mark.
    """
    vanished = {name for catalogue in catalogues for name in catalogue.vanished}
    taken = vanished.intersection(moved.values()) - moved.keys()
    for mark in marks:
        for name in taken.intersection(mark.ids):
            raise ConfigurationError(
                f"{mark.place}: {name} has vanished from its specification, and its number now"
                " belongs to another requirement: remove this mark or claim first"
            )


def _changed(path: Path, moved: dict[str, str]) -> Change:
    """A file with the identifiers of today; only whole strings are identifiers."""
    ids = "|".join(re.escape(name) for name in moved)
    # Identifiers are ASCII: whatever else is in a source, its encoding and line ends too, stays.
    text, count = re.subn(
        rf"""(["'])({ids})\1""",
        lambda found: f"{found[1]}{moved[found[2]]}{found[1]}",
        path.read_bytes().decode("latin-1"),
    )
    return Change(path, text.encode("latin-1"), count)


def _renamed(quoted: str, moved: dict[str, str]) -> str:
    name = quoted.strip('"')
    return f'"{moved.get(name, name)}"'


def refuse_moved_marks(config: Path, catalogue: Path) -> None:
    """Refuse to forget where requirements were while marks still have those numbers.

    Raises:
        ConfigurationError: A mark or a claim has a number that the catalogue says has moved.
    """
    if not config.exists() or not catalogue.exists():
        return
    moved = {r.moved_from for r in load(catalogue).requirements if r.moved_from}
    if not moved:
        return
    stale = [
        mark.place
        for mark in scan_sources(read_settings(config)).marks
        if not moved.isdisjoint(mark.ids)
    ]
    if stale:
        raise ConfigurationError(
            f"--accept: {counted(len(stale), 'mark has', 'marks or claims have')} a number that has"
            f" moved, the first {_first(stale)}: run vespiary trace rename"
        )


def _first(places: Iterable[str]) -> str:
    return min(places)
