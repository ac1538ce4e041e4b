"""Find `requires!` and `claims!` in Rust, without a compiler.

First everything that is not code is blanked: comments, which nest, strings of all kinds, and
characters, which must be distinguished from lifetimes. In what is left, brackets are sure to be
brackets. Identifiers are then read from the untouched text at the same places.
"""

import bisect
import re

from vespiary.prove.trace.marks import NEGATED, STATEMENT, Found, Mark, Problem

__all__ = ["scan_rust"]

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
_CALL = re.compile(r"(?<!\w)(?:\w+::)*(requires|claims)!\s*([(\[{])")
_FUNCTION = re.compile(r"\bfn\s+(r#)?(\$?\w+)")
_LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def scan_rust(text: str, file: str) -> Found:
    """The marks and claims of a Rust source.

    Args:
        text: The source.
        file: What marks and problems call it.
    """
    found = Found()
    code = _blanked(text)
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    for call in _CALL.finditer(code):
        if code[: call.start()].rstrip().endswith("macro_rules!"):
            continue
        line = bisect.bisect_right(starts, call.start())
        place = f"{file}:{line}"
        end = _closed(code, call.end() - 1)
        words = text[call.end() : end]
        arrow = code.find("=>", call.end(), end)
        ids = words if arrow < 0 else text[call.end() : arrow]
        literals = tuple(_LITERAL.findall(ids))
        name = f"{call[1]}!"
        kind = "mark" if call[1] == "requires" else "claim"
        rest = re.sub(r"[\s,]", "", _LITERAL.sub("", ids))
        if "$" in ids or rest.startswith("$"):
            found.problems.append(
                Problem(
                    place, f"{name} within a macro: its identifiers cannot be seen", error=False
                )
            )
            continue
        if not literals or not all(literals) or rest:
            found.problems.append(
                Problem(place, f"{name} names no identifier: write one as a string")
            )
            continue
        form = "condition" if arrow >= 0 else "statement"
        if kind == "mark" and (words := _misplaced(code, call.start(), end, form)):
            found.problems.append(Problem(place, words))
        function = _function(code, call.start())
        found.marks.append(Mark(kind, literals, file, line, function, "rust", form))
    return found


def _blanked(text: str) -> str:
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


def _closed(code: str, opening: int) -> int:
    """Where the bracket at `opening` is closed."""
    depth = 0
    for bracket in re.compile(r"[()\[\]{}]").finditer(code, opening):
        depth += 1 if bracket[0] in _CLOSING else -1
        if depth == 0:
            return bracket.start()
    return len(code)


def _misplaced(code: str, start: int, end: int, form: str) -> str:
    """What is wrong with the place of a mark; empty if nothing is."""
    before = code[:start].rstrip()[-1:]
    is_statement = before in ("", ";", "{", "}") and code[end + 1 :].lstrip()[:1] == ";"
    if form == "statement":
        return "" if is_statement else STATEMENT
    if is_statement:
        return "the value of requires! is dropped: it marks nothing; let it guard code"
    return NEGATED if before == "!" else ""


def _function(code: str, place: int) -> str:
    """The innermost function whose body contains the place."""
    for match in reversed(list(_FUNCTION.finditer(code, 0, place))):
        body = re.compile(r"[;{]").search(code, match.end())
        if body and body[0] == "{" and _closed(code, body.start()) > place:
            return match[2]
    return ""
