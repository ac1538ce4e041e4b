"""Find `requires!` and `claims!` in Rust, without a compiler.

Marks and claims are found in what is code (see `rust_code`), and their identifiers are then read
from the untouched text at the same places.

Within a macro's definition the compiler gives a mark the place of the macro's call, and a test may
be named by a parameter. Such marks and claims know their macro (a claim also where it is in the
arguments of a macro that makes the test); where an identifier is a parameter too, as in
`requires!($id => ...)`, each call of the macro is a mark of the literals in it that look like
identifiers.
"""

import bisect
import itertools
import re
from dataclasses import replace

from vespiary.prove.trace.digests import rust_digest
from vespiary.prove.trace.forms import IDLE, INVERTED
from vespiary.prove.trace.identifiers import OWN
from vespiary.prove.trace.marks import (
    ASSERTED,
    COMPARED,
    CONSTANT,
    NEGATED,
    STATEMENT,
    Found,
    Mark,
    Problem,
)
from vespiary.prove.trace.rust_branches import branch_form
from vespiary.prove.trace.rust_code import FUNCTION, MACRO, Span, blanked, closed, outside
from vespiary.prove.trace.rust_helpers import RustFile, RustHelpers

__all__ = ["macro_arguments", "scan_rust"]

_CALL = re.compile(r"(?<!\w)(?:\w+::)*(requires|claims)!\s*([(\[{])")
_LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
_IDENTIFIER = re.compile(rf'"([A-Za-z][\w.-]*/[\w./-]+|{OWN.pattern})"')
_MACRO_CALL = re.compile(r"\b(\w+)!\s*[(\[{]")
_DOC_CLAIM = re.compile(r"^[ \t]*//[/!].*\bclaims!\s*[(\[{]", re.MULTILINE)
_FILTER = re.compile(r"\.\s*(?:filter|all|retain|take_while)\s*\(")
_AND = re.compile(r"[\s)]*(?:&&|\{\s*if\b)[\s(]*(?:\w+::)*")
_IDLE = re.compile(r"[\s)]*\{\s*\}\s*(else\b)?")
_OR_LEAVE = re.compile(r"[\s)]*\|\|[\s(]*(?:return\b|break\b|continue\b|(?:\w+::)*panic!)")
_WORD = re.compile(r"\b[A-Za-z_]\w*")


def scan_rust(text: str, file: str, helpers: RustHelpers | None = None) -> Found:
    """The marks and claims of a Rust source.

    Args:
        text: The source.
        file: What marks and problems call it.
        helpers: The project's files of tests, which its tests may use.
    """
    return _Scanner(text, file, helpers).found


def macro_arguments(text: str, macro: str) -> set[str]:
    """All words in the calls of a macro: one of them names a test that the macro makes."""
    code = blanked(text)
    words: set[str] = set()
    for call in re.finditer(rf"\b{macro}!\s*[(\[{{]", code):
        words.update(re.findall(r"\w+", code[call.end() : closed(code, call.end() - 1)]))
    return words


class _Scanner:
    """Reads a source once."""

    def __init__(self, text: str, file: str, helpers: RustHelpers | None) -> None:
        self.found = Found()
        self._text = text
        self._file = file
        self._source = RustFile(text)
        self._code = self._source.code
        self._helpers = helpers
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._macros = [
            Span(match[1], match.start(), closed(self._code, match.end() - 1) + 1)
            for match in MACRO.finditer(self._code)
        ]
        self._filters = [
            (match.end(), closed(self._code, match.end() - 1))
            for match in _FILTER.finditer(self._code)
        ]
        self._conditions: list[tuple[int, int, int]] = []
        """Of each mark with a condition: where it begins and ends, and its place in `found`."""
        self._unnamed: dict[str, Mark] = {}
        """By macro: a mark or claim in it, whose identifiers are the macro's parameters."""
        for call in _CALL.finditer(self._code):
            if not self._code[: call.start()].rstrip().endswith("macro_rules!"):
                self._call(call)
        self._chained()
        for macro, mark in self._unnamed.items():
            self._named_by_calls(macro, mark)
        for claim in _DOC_CLAIM.finditer(text):
            words = "claims! in a doc test is not seen: move it into a test"
            self._warn(self._line(claim.end()), words)

    def _call(self, call: re.Match[str]) -> None:
        """A mark or claim, at the place of its name."""
        code, text = self._code, self._text
        end = closed(code, call.end() - 1)
        arrow = code.find("=>", call.end(), end)
        ids = text[call.end() : end if arrow < 0 else arrow]
        literals = tuple(_LITERAL.findall(ids))
        name = f"{call[1]}!"
        kind = "mark" if call[1] == "requires" else "claim"
        rest = re.sub(r"[\s,]", "", _LITERAL.sub("", ids))
        form = "condition" if arrow >= 0 else "statement"
        if arrow >= 0 and any(begin < call.start() < stop for begin, stop in self._filters):
            form = "filter"
        elif arrow >= 0:
            form = branch_form(code, text, call.start(), end) or form
        line = self._line(call.start())
        macro = next((s.name for s in self._macros if s.begin < call.start() < s.end), "")
        if "$" in rest:
            mark = Mark(kind, (), self._file, line, "", "rust", form, "", macro)
            self._unnamed[macro] = mark
            return
        if not literals or not all(literals) or rest:
            words = f"{name} has no identifier: write one as a string"
            self.found.problems.append(Problem(f"{self._file}:{line}", words))
            return
        if kind == "mark" and (words := _misplaced(code, call.start(), end, form)):
            self.found.problems.append(Problem(f"{self._file}:{line}", words))
        if arrow >= 0 and {*_WORD.findall(code, arrow + 2, end)} <= {"true", "false"}:
            self.found.problems.append(Problem(f"{self._file}:{line}", CONSTANT))
        span = _function(code, call.start())
        function = span.name if span else ""
        if kind == "claim" and not span and not macro:
            # A macro makes the test of its arguments, in which the claim stands.
            span = _around(code, call.start())
            macro = span.name if span else ""
        around = _outermost(code, span) if span and kind == "mark" else span
        begin, stop = (around.begin, around.end) if around else (call.start(), end)
        code_of_claim = self._used(begin, stop) if kind == "claim" else ""
        digest = rust_digest(text[begin:stop] + code_of_claim)
        if arrow >= 0 and form != "filter":
            self._conditions.append((call.start(), end + 1, len(self.found.marks)))
        self.found.marks.append(
            Mark(kind, literals, self._file, line, function, "rust", form, digest, macro)
        )

    def _used(self, begin: int, end: int) -> str:
        """The functions, constants and macros that a piece of the file names, in turn.

        Those of other files of tests too.
        """
        around = Span("", begin, end)
        needed = self._source.needs(self._source.words_in(around), [around])
        parts = [self._text[span.begin : span.end] for span in needed]
        if self._helpers:
            words = set().union(*map(self._source.words_in, [around, *needed]))
            parts += self._helpers.parts(self._file, words, self._source)
        return "".join(parts)

    def _chained(self) -> None:
        """Marks of one requirement that must all be true are filters: see `forms`."""
        marks = self.found.marks
        for (_, end, one), (begin, _, other) in itertools.pairwise(self._conditions):
            is_chain = _AND.fullmatch(self._code[end:begin])
            if is_chain and not set(marks[one].ids).isdisjoint(marks[other].ids):
                marks[one] = replace(marks[one], form="filter")
                marks[other] = replace(marks[other], form="filter")

    def _named_by_calls(self, macro: str, mark: Mark) -> None:
        """Each call of a macro with identifiers is a mark or claim where the call stands."""
        count = len(self.found.marks)
        for call in re.finditer(rf"\b{macro}!\s*[(\[{{]", self._code):
            end = closed(self._code, call.end() - 1)
            ids = tuple(_IDENTIFIER.findall(self._text[call.start() : end]))
            if ids:
                span = _function(self._code, call.start())
                begin, stop = (span.begin, span.end) if span else (call.start(), end)
                used = self._used(begin, stop) if mark.kind == "claim" else ""
                digest = rust_digest(self._text[begin:stop] + used)
                line = self._line(call.start())
                name = span.name if span else ""
                form = mark.form
                # A mark of the running program has this very place; a claim has a test's name.
                within = macro if mark.kind == "claim" else ""
                self.found.marks.append(
                    Mark(mark.kind, ids, self._file, line, name, "rust", form, digest, within)
                )
        if len(self.found.marks) == count:
            name = "requires!" if mark.kind == "mark" else "claims!"
            words = (
                f"{name} within the macro {macro}: no call of it here has identifiers to be seen"
            )
            self._warn(mark.line, words)

    def _line(self, place: int) -> int:
        return bisect.bisect_right(self._starts, place)

    def _warn(self, line: int, words: str) -> None:
        self.found.problems.append(Problem(f"{self._file}:{line}", words, error=False))


_NEGATION = re.compile(r"(?<![\w=])!\s*\([\s(]*\Z")
_ASSERTION = re.compile(r"\b(?:debug_)?assert!\s*[({\[][\s(]*\Z")
_CONSTANT_BEFORE = re.compile(r"\b(?:true|false)\s*[=!]=\s*\Z")
_CONSTANT_AFTER = re.compile(r"[\s)]*[=!]=\s*(?:true|false)\b")


def _misplaced(code: str, start: int, end: int, form: str) -> str:
    """What is wrong with the place of a mark; empty if nothing is."""
    before = code[:start].rstrip()[-1:]
    is_statement = before in ("", ";", "{", "}") and code[end + 1 :].lstrip()[:1] == ";"
    if form == "statement":
        return "" if is_statement else STATEMENT
    if is_statement:
        return "the value of requires! is dropped: it marks nothing; let it guard code"
    if before == "!" or _NEGATION.search(code[:start]):
        return NEGATED
    if _ASSERTION.search(code[:start]):
        return ASSERTED
    compared = _CONSTANT_BEFORE.search(code[:start]) or _CONSTANT_AFTER.match(code[end + 1 :])
    if compared:
        return COMPARED
    idle = _IDLE.match(code, end + 1)
    if (idle and idle[1]) or _OR_LEAVE.match(code, end + 1):
        return INVERTED
    return IDLE if idle else ""


def _around(code: str, place: int) -> Span | None:
    """The innermost call of a macro in whose arguments the place is."""
    for match in reversed(list(_MACRO_CALL.finditer(code, 0, place))):
        end = closed(code, match.end() - 1)
        if end > place:
            return Span(match[1], match.start(), end + 1)
    return None


def _outermost(code: str, span: Span) -> Span:
    """The outermost function around a function."""
    while outer := _function(code, span.begin - 1):
        span = outer
    return span


def _function(code: str, place: int) -> Span | None:
    """The innermost function whose body contains the place, with its attributes."""
    for match in reversed(list(FUNCTION.finditer(code, 0, place))):
        body = outside(code, match.end(), ";", "{")
        if body and body[0] == "{":
            end = closed(code, body.start())
            if end > place:
                begin = max(code.rfind(sign, 0, match.start()) for sign in ";{}") + 1
                return Span(match[2], begin, end + 1)
    return None
