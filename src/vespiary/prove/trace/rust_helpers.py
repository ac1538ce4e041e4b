"""What a test of Rust uses of other files of tests: see `helpers`, which does it for Python.

A file is one of tests by its name or by that of a folder (`tests/common/mod.rs`, `src/tests.rs`),
or because it is declared with `#[cfg(test)] mod name;`. A test can use it if both are of one
package, and the test's file names its module. Functions, constants and macros are then found by
their names alone: so one may count that only has the same name.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import PurePosixPath

from vespiary.prove.trace.rust_code import Span, blanked, items_of

__all__ = ["RustFile", "RustHelpers"]

_TESTS = re.compile(r"(?:.*_)?tests?(?:_.*)?")
_DECLARED = re.compile(r"#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;")
_ROOTS = ("src", "tests", "benches", "examples")
_WORD = re.compile(r"\b[A-Za-z_]\w*")
_PATH = re.compile(r"\bmod\s+\w+|\buse\b[^;]*|\w+\s*::")
"""Where the name of a module may stand."""


class RustFile:
    """A source, and what it has."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def code(self) -> str:
        """The text, in which all that is not code is blank."""
        return blanked(self.text)

    @cached_property
    def items(self) -> dict[str, list[Span]]:
        """Its functions, constants and macros, by name."""
        return items_of(self.code)

    @cached_property
    def modules(self) -> frozenset[str]:
        """All names in it that may be those of modules."""
        return frozenset(word for path in _PATH.findall(self.code) for word in _WORD.findall(path))

    def needs(self, words: Iterable[str], known: Iterable[Span] = ()) -> list[Span]:
        """The items that have these names, and those that they name in turn, in their order."""
        found = {span.begin: span for span in known}
        before = set(found)
        left = set(words)
        while left:
            new = [
                span
                for word in left
                for span in self.items.get(word, ())
                if not any(one.begin <= span.begin < one.end for one in found.values())
            ]
            found |= {span.begin: span for span in new}
            left = {word for span in new for word in self.words_in(span)}
        return [found[begin] for begin in sorted(found.keys() - before)]

    def words_in(self, span: Span) -> set[str]:
        """The names in a part of it."""
        return set(_WORD.findall(self.code, span.begin, span.end))


class RustHelpers:
    """The files of a project's tests."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        """Find them.

        Args:
            texts: By file: every source of Rust.
        """
        declared = {
            (_folder_of_modules(file), name)
            for file, text in texts.items()
            if "cfg(test)" in text
            for name in _DECLARED.findall(text)
        }
        self._packages: dict[str, dict[str, RustFile]] = {}
        for file, text in texts.items():
            path = PurePosixPath(file)
            place = path.parent if path.stem == "mod" else path.with_suffix("")
            is_named = any(_TESTS.fullmatch(part) for part in (*path.parts[:-1], path.stem))
            if is_named or (str(place.parent), place.name) in declared:
                self._packages.setdefault(_package(file), {})[file] = RustFile(text)

    def parts(self, file: str, words: Iterable[str], source: RustFile) -> list[str]:
        """The code in other files that a test uses, each piece with the name of its file.

        Args:
            file: That of the test.
            words: The names in the test, and in what it uses of its own file.
            source: The test's file.
        """
        others = self._packages.get(_package(file), {})
        found: dict[tuple[str, int], str] = {}
        names, modules = set(words), set(source.modules)
        while True:
            count = len(found)
            for other, helper in others.items():
                if other == file or _module(other) not in modules:
                    continue
                for span in helper.needs(names):
                    if (other, span.begin) not in found:
                        found[other, span.begin] = helper.text[span.begin : span.end]
                        names |= helper.words_in(span)
                        modules |= helper.modules
            if len(found) == count:
                return [f"{name}:{code}" for (name, _), code in sorted(found.items())]


def _module(file: str) -> str:
    path = PurePosixPath(file)
    return path.parent.name if path.stem == "mod" else path.stem


def _package(file: str) -> str:
    """The folder of the package to which a file belongs."""
    parts = PurePosixPath(file).parts
    places = [place for place, part in enumerate(parts) if part in _ROOTS]
    return "/".join(parts[: places[0]] if places else parts[:-1])


def _folder_of_modules(file: str) -> str:
    """The folder in which the modules lie that a file declares."""
    path = PurePosixPath(file)
    is_root = path.stem in ("mod", "lib", "main")
    return str(path.parent if is_root else path.with_suffix(""))
