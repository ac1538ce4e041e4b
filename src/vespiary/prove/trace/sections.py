"""Cut a healed specification into sections, and omit those that are not prose of its own."""

import re
from dataclasses import dataclass, field

from vespiary.prove.trace.blocks import RULE
from vespiary.prove.trace.healing import PAGE_BREAK

__all__ = ["Section", "cut", "is_prose", "number_key", "numbered", "selected"]

_NUMBERED = re.compile(r"^(?:Appendix )?((?:\d{1,6}|[A-Z])(?:\.\d{1,6})*)(?:\.|\b) +(\S.*)$")
_DOTS = re.compile(r" \.(?: ?\.)+ *\d+\.?$")
"""What stands between a title and its page in a table of contents."""

_ENDS = (".", ",", ";", ":")
_HEADING_INDENT_MAX = 4
_HEADING_WORDS_MAX = 8
_NOT_PROSE = re.compile(
    r"^(table of contents|contents|(normative |informative |non-normative )?references"
    r"|uris|(key ?word )?index|list of figures|list of tables"
    r"|(editors?'?|authors?'?)?'?s?'? ?address(es)?"
    r"|acknowledge?ments?|contributors|full copyright statement|intellectual property"
    r"|abstract|copyright( and license)?( notice)?|status of this memo|authors'? addresses"
    r"|editorial comments|change log|revision history)\.?$",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Section:
    """A heading and the lines below it, up to the next heading.

    Attributes:
        number: As `4.2.1` or `A.1`; of a section without a number its title in kebab case.
        title: The heading's words.
        lines: The healed lines below the heading.
        prose: False for tables of contents, references, indexes, addresses and the like.
    """

    number: str
    title: str
    lines: list[str] = field(default_factory=list)
    prose: bool = True


def cut(lines: list[str]) -> list[Section]:
    """The sections of a healed text in their order; what stands before the first is omitted.

    Args:
        lines: What `heal` gave. Headings stand at the left margin of such a text; but so may
            figures, grammars and prose, and some headings are indented.
    """
    sections: list[Section] = []
    in_heading = False
    margin = _has_headings(lines)
    for place, line in enumerate(lines):
        if in_heading and sections and line and not line[0].isspace():
            sections[-1].title += " " + line.strip()
        elif _is_heading(lines, place) or _is_indented_heading(lines, place, sections, margin):
            sections.append(_opened(line.strip()))
            in_heading = True
        elif in_heading and line and line != PAGE_BREAK and sections:
            # The title continues, indented to where it began; prose would follow a blank line.
            sections[-1].title += " " + line.strip()
        else:
            in_heading = False
            if sections:
                sections[-1].lines.append(line)
    for section in sections:
        section.prose = is_prose(section.title)
    return _below(sections)


def is_prose(title: str) -> bool:
    """Whether a section of this title is prose of its own, and not a list of references or so."""
    return not _NOT_PROSE.match(title)


def numbered(line: str) -> tuple[str, str] | None:
    """The number and the title of a numbered heading; None if it is none."""
    found = _NUMBERED.match(line)
    return (found[1], found[2]) if found else None


def _has_headings(lines: list[str]) -> bool:
    """Whether numbered headings stand at the left margin."""
    return any(_NUMBERED.match(line) and _is_heading(lines, n) for n, line in enumerate(lines))


def _is_heading(lines: list[str], place: int) -> bool:
    """Whether a line at the left margin is a heading, and not a figure, a grammar or prose."""
    line = lines[place]
    if not line or line[0].isspace() or _is_within(lines, place):
        return False
    if found := _NUMBERED.match(line):
        if line.endswith("."):
            is_short = "." in found[1] and len(found[2].split()) <= _HEADING_WORDS_MAX
            return _DOTS.search(line) is not None or (is_short and _stands_alone(lines, place))
        return not line.endswith((";", ",", "{", "}"))
    if RULE.match(line):
        return False
    solid = line.replace(" ", "")
    art = sum(solid.count(character) for character in "+|=<>{}^~#*_\\/;")
    below = lines[place + 1] if place + 1 < len(lines) else ""
    goes_on = below != "" and not below[0].isspace()
    return (
        line[0].isupper()
        and not line.endswith((".", ",", ";", ":"))
        and art * 10 < len(solid)
        and not goes_on
    )


def _is_within(lines: list[str], place: int) -> bool:
    """Whether a line continues from the one above it."""
    above = lines[place - 1] if place else ""
    return above not in ("", PAGE_BREAK)


def _stands_alone(lines: list[str], place: int) -> bool:
    """Whether no line follows directly."""
    below = lines[place + 1] if place + 1 < len(lines) else ""
    return below in ("", PAGE_BREAK)


def _is_indented_heading(
    lines: list[str], place: int, sections: list[Section], margin: bool
) -> bool:
    """Whether an indented line is the heading of the section that is due: `   3.1.  Title`."""
    line = lines[place]
    stripped = line.strip()
    heading = _NUMBERED.match(stripped)
    if not heading or line == stripped or len(line) - len(stripped) > _HEADING_INDENT_MAX:
        return False
    if _is_within(lines, place) or not _stands_alone(lines, place) or stripped.endswith(_ENDS):
        return False
    number, title = heading[1], heading[2]
    if not title[0].isupper() or (margin and "." not in number):
        return False
    return number in _due(sections[-1].number if sections else "")


def _due(number: str) -> set[str]:
    """The numbers that may follow a section's: its first child, and the next of each level."""
    parts = number.split(".")
    due = {"1", f"{number}.1", f"{number}.0"}
    for depth in range(len(parts)):
        if parts[depth].isdigit():
            due.add(".".join([*parts[:depth], str(int(parts[depth]) + 1)]))
    return due


def _opened(line: str) -> Section:
    if heading := numbered(line):
        return Section(*heading)
    slug = re.sub(r"[^a-z0-9]+", "-", line.lower()).strip("-")
    return Section(slug or "untitled", line.strip())


def _below(sections: list[Section]) -> list[Section]:
    """What is below a section that is not prose is none either: 14.1 below 14, References."""
    barred = [f"{section.number}." for section in sections if not section.prose]
    for section in sections:
        if section.number.startswith(tuple(barred)):
            section.prose = False
    return sections


def selected(number: str, patterns: tuple[str, ...]) -> bool:
    """Whether a section is asked for: `3` is itself alone, `3.*` is it and all below it."""
    if not patterns:
        return True
    for pattern in patterns:
        stem = pattern.removesuffix(".*")
        if number == stem or (stem != pattern and number.startswith(stem + ".")):
            return True
    return False


def number_key(number: str) -> tuple[tuple[int, int, str], ...]:
    """What sections are sorted by: 4.10 after 4.9, appendices after chapters."""
    return tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in number.split(".")
    )
