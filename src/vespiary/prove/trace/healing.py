"""Undo what printing did to a specification: pages, their running headers and footers.

RFCs and Internet-Drafts are published as pages of text. Each page ends with a footer, such as
`Author      Standards Track      [Page 7]`, a form feed, and the next page's header. Newer RFCs
have no pages at all. The rest here are the lines that the authors wrote; where a page ended stands
`PAGE_BREAK`, because a paragraph may continue after it and a blank line alone would not tell.
"""

import re
from collections import Counter

__all__ = ["PAGE_BREAK", "heal"]

PAGE_BREAK = "\f"
"""A healed line of this text stands where a page ended."""

_FOOTER = re.compile(r"^\S.*\[Page [0-9ivxlc]+\]\s*$")
_THREE_FIELDS = re.compile(r"^\S.*?\S {2,}\S.*?\S? {2,}\S.*$")


def heal(text: str) -> list[str]:
    """The lines of a specification without page furniture.

    Args:
        text: The whole text as published, with line ends of any kind.

    Returns:
        The lines, right-stripped, tabulators expanded. A page's end, with the blank lines about
        it, is one line `PAGE_BREAK`.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    raw = [line.rstrip().expandtabs(8) for line in text.replace("\f", "\n\f\n").split("\n")]
    # rstrip takes a form feed too, so that lines which were one are empty: find them again.
    feeds = {number for number, line in enumerate(_lines(text)) if line == "\f"}
    lines = [PAGE_BREAK if number in feeds else line for number, line in enumerate(raw)]
    lines = [PAGE_BREAK if _FOOTER.match(line) else line for line in lines]
    return _joined(_without_headers(lines))


def _lines(text: str) -> list[str]:
    return text.replace("\f", "\n\f\n").split("\n")


def _without_headers(lines: list[str]) -> list[str]:
    """Drop the first line after a page's end if it looks like, or is repeated as, a header."""
    firsts = list(_first_after_breaks(lines))
    repeated = Counter(_constant_part(lines[number]) for number in firsts)
    drop = {
        number
        for number in firsts
        if _THREE_FIELDS.match(lines[number]) or repeated[_constant_part(lines[number])] > 1
    }
    return [line for number, line in enumerate(lines) if number not in drop]


def _first_after_breaks(lines: list[str]) -> list[int]:
    """The lines at the left margin that are the first to follow a page's end."""
    found, waiting = [], False
    for number, line in enumerate(lines):
        if line == PAGE_BREAK:
            waiting = True
        elif line and waiting:
            waiting = False
            if not line.startswith(" "):
                found.append(number)
    return found


def _constant_part(line: str) -> str:
    return re.sub(r"\d+", "0", line)


def _joined(lines: list[str]) -> list[str]:
    """Make one `PAGE_BREAK` of a page's end and the blank lines and page ends about it."""
    healed: list[str] = []
    for line in lines:
        blank = line in ("", PAGE_BREAK)
        if blank and healed and healed[-1] == PAGE_BREAK:
            continue
        if line == PAGE_BREAK:
            while healed and not healed[-1]:
                healed.pop()
        healed.append(line)
    return healed
