"""How a test of Rust has failed, by what it has printed.

An `unwrap` that panics may be in a test, which expects a value. Or it is in the code, which
continues without the mark with what it had refused. This second case is a crash, which any test
would notice that reaches it. So the place of the panic counts: a file with marks that the test has
reached, outside of the tests that are in the same file.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from vespiary.prove.trace import files
from vespiary.prove.trace.proving.record import ASSERTION, BROKEN, EXCEPTION
from vespiary.prove.trace.rust_code import blanked, closed, items_of

__all__ = ["how_failed"]

_ASSERTION = re.compile(rb"^assertion .*failed", re.MULTILINE)
"""What a failed `assert!` says, on the line below the place of the panic."""

_BROKEN = re.compile(
    rb"^(?:index out of bounds: |attempt to |range (?:start|end) index |slice index |byte index )",
    re.MULTILINE,
)
"""What the compiler's own checks say there: nobody expects that."""

_UNWRAPPED = re.compile(
    rb"panicked at (?P<file>[^\n]+):(?P<line>\d+):\d+:\ncalled `(?:Option|Result)::unwrap"
)
_TESTS = re.compile(r"#\[cfg\(test\)\]\s*(?:pub\s*(?:\([^)]*\)\s*)?)?mod\s+\w+\s*\{")
_TEST = re.compile(r"#\[\s*(?:\w+\s*::\s*)*test\b")


def how_failed(told: bytes, marked: Iterable[str], package: Path) -> str:
    """Whether it was an assertion, a crash of the code, or another panic.

    Args:
        told: What the test has printed.
        marked: The files of the marks that it has reached, as the compiler names them.
        package: The folder of its package.
    """
    if _ASSERTION.search(told):
        return ASSERTION
    if _BROKEN.search(told):
        return BROKEN
    panic = _UNWRAPPED.search(told)
    if panic is None or (file := panic["file"].decode(errors="replace")) not in set(marked):
        return EXCEPTION
    path = next((path for path in _places(file, package) if path.is_file()), None)
    if path is None or _is_in_a_test(files.source(path), int(panic["line"])):
        return EXCEPTION
    return BROKEN


def _places(file: str, package: Path) -> Iterable[Path]:
    """Where a file may be: its name is relative to the workspace, a folder above the package."""
    return (folder / file for folder in (package, *package.parents))


def _is_in_a_test(text: str, line: int) -> bool:
    """Whether a line is in a module of tests, or in a test's function."""
    code = blanked(text)
    offset = sum(len(one) for one in code.splitlines(keepends=True)[: line - 1])
    modules = ((one.start(), closed(code, one.end() - 1)) for one in _TESTS.finditer(code))
    functions = (
        (span.begin, span.end)
        for spans in items_of(code).values()
        for span in spans
        if _TEST.search(code, span.begin, span.end)
    )
    return any(begin <= offset < end for begin, end in (*modules, *functions))
