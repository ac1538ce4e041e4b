"""Rust without a compiler: what of a source is code, its brackets, and its items.

Everything that is not code is blanked first: comments, which nest, strings of all kinds, and
characters, which must be distinguished from lifetimes. In the rest, brackets are sure to be
brackets.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["CLOSING", "FUNCTION", "MACRO", "Span", "blanked", "closed", "items_of", "outside"]

_TOKEN = re.compile(
    r"""
    (?P<line>//[^\n]*)
  | (?P<open>/\*)
  | (?P<raw>\b(?:b|c)?r(?P<hashes>\#*)")
  | (?P<string>(?:\b[bc])?"(?:[^"\\]|\\.)*")
  | (?P<char>(?:\bb)?'(?:[^'\\\n]|\\(?:[^u\n]|u\{[^}]*\}))'|'\\x[0-9a-fA-F]{2}')
    """,
    re.VERBOSE | re.DOTALL,
)
FUNCTION = re.compile(r"\bfn\s+(r#)?(\$?\w+)")
MACRO = re.compile(r"\bmacro_rules!\s*(\w+)\s*([(\[{])")
_CONSTANT = re.compile(r"\b(?:const|static)\s+(\w+)\s*:")
_SIGN = re.compile(r"=>|[;,()\[\]{}]")
CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Span:
    """A function or a macro's definition, from its attributes to its closing bracket."""

    name: str
    begin: int
    end: int


def blanked(text: str) -> str:
    """The text with everything that is not code as spaces; lines stay where they are."""
    pieces: list[str] = []
    place = 0
    while match := _TOKEN.search(text, place):
        end = match.end()
        if match["open"]:
            end = _comment_end(text, match.start())
        elif match["raw"]:
            close = text.find('"' + match["hashes"], end)
            end = len(text) if close < 0 else close + 1 + len(match["hashes"])
        pieces += [text[place : match.start()], re.sub(r"[^\n]", " ", text[match.start() : end])]
        place = end
    return "".join([*pieces, text[place:]])


def _comment_end(text: str, start: int) -> int:
    depth = 0
    for mark in re.compile(r"/\*|\*/").finditer(text, start):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(text)


def closed(code: str, opening: int) -> int:
    """Where the bracket at `opening` is closed."""
    depth = 0
    for bracket in re.compile(r"[()\[\]{}]").finditer(code, opening):
        depth += 1 if bracket[0] in CLOSING else -1
        if depth == 0:
            return bracket.start()
    return len(code)


def items_of(code: str) -> dict[str, list[Span]]:
    """The functions, constants and macros of a file, by name.

    Args:
        code: The file, in which all that is not code is blank.
    """
    found: dict[str, list[Span]] = {}
    macros = (
        Span(match[1], match.start(), closed(code, match.end() - 1) + 1)
        for match in MACRO.finditer(code)
    )
    for span in (*macros, *_definitions(code)):
        found.setdefault(span.name, []).append(span)
    return found


def _definitions(code: str) -> Iterator[Span]:
    """The functions and constants of a file."""
    for match in FUNCTION.finditer(code):
        body = outside(code, match.end(), ";", "{")
        if body and body[0] == "{":
            begin = max(code.rfind(sign, 0, match.start()) for sign in ";{}") + 1
            yield Span(match[2], begin, closed(code, body.start()) + 1)
    for match in _CONSTANT.finditer(code):
        end = outside(code, match.end(), ";")
        yield Span(match[1], match.start(), end.end() if end else len(code))


def outside(code: str, place: int, *signs: str) -> re.Match[str] | None:
    """The next of some signs that is not in further brackets, as that in `[u8; 4]` is.

    Args:
        code: A source, in which all that is not code is blank.
        place: Where to begin.
        signs: `;`, `,`, `=>` or brackets. A closing bracket is found only if none opens it first.
    """
    for sign in _SIGN.finditer(code, place):
        if sign.start() >= place:
            if sign[0] in signs:
                return sign
            if sign[0] in CLOSING:
                place = closed(code, sign.start()) + 1
    return None
