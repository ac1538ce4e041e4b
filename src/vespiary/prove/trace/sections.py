"""Cut a healed specification into sections, and leave out those that are not prose of its own."""

import re
from dataclasses import dataclass, field

from vespiary.prove.trace.healing import PAGE_BREAK

__all__ = ["Section", "cut", "number_key", "selected"]

_NUMBERED = re.compile(r"^(?:Appendix )?((?:\d+|[A-Z])(?:\.\d+)*)(?:\.|\b) +(\S.*)$")
_NOT_PROSE = re.compile(
    r"^(table of contents|contents|(normative |informative |non-normative )?references"
    r"|uris|index|list of figures|list of tables|(editors?'?|authors?'?)?'?s?'? ?address(es)?"
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
    """The sections of a healed text in their order; what stands before the first is left out.

    Args:
        lines: What `heal` gave. Only headings stand at the left margin of such a text.
    """
    sections: list[Section] = []
    in_heading = False
    for line in lines:
        if line and not line[0].isspace():
            if in_heading and sections:
                sections[-1].title += " " + line.strip()
            else:
                sections.append(_opened(line))
            in_heading = True
        elif in_heading and line and line != PAGE_BREAK and sections:
            # The title goes on, indented to where it began; prose would follow a blank line.
            sections[-1].title += " " + line.strip()
        else:
            in_heading = False
            if sections:
                sections[-1].lines.append(line)
    for section in sections:
        section.prose = not _NOT_PROSE.match(section.title)
    return _below(sections)


def _opened(line: str) -> Section:
    numbered = _NUMBERED.match(line)
    if numbered:
        return Section(numbered[1], numbered[2])
    slug = re.sub(r"[^a-z0-9]+", "-", line.lower()).strip("-")
    return Section(slug or "untitled", line.strip())


def _below(sections: list[Section]) -> list[Section]:
    """What stands below a section that is not prose is none either: 14.1 below 14, References."""
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
