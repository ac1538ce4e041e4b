"""What a test uses of other files of the project's tests, for the digest of its claim.

A test may leave its assert to a function of another file, and get what it tests from a fixture of
a `conftest.py`. Evidence that does not know them would outlive them. So the digest of a claim has
the functions, fixtures and values of other test files that it needs, and those that they need. A
file is one of tests by its name (`conftest.py`, `test_*.py`, `*_test.py`) or by that of a folder in
which it lies (`tests`, `unit_tests`). Other code stays out, since marks have digests of
their own. What only the running program knows (a name that is computed, a plugin of a package) is
not seen.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

from vespiary.prove.trace import files
from vespiary.prove.trace.needs import Needs, code_of, digest_of, given, is_automatic, needs, used
from vespiary.prove.trace.python_names import TOO_DEEP, dotted, string

__all__ = ["Helpers", "is_of_tests", "syntax_tree"]

_FILE = re.compile(r"conftest|test_.*|.*_tests?|tests?")
_FOLDER = re.compile(r"(?:.*[_-])?tests?(?:[_-].*)?|testsuite")
_WHOLE = "*"
"""Stands for all that a file has."""

Wanted = tuple[str, str]
"""A file, and a name in it."""


def is_of_tests(file: str) -> bool:
    """Whether a file is one of tests, by its name and those of its folders."""
    path = PurePosixPath(file)
    is_named = bool(_FILE.fullmatch(path.stem))
    return is_named or any(_FOLDER.fullmatch(part) for part in path.parts[:-1])


class Helpers:
    """The test files of a project, each read when it is needed.

    Attributes:
        root: The project's folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._steps: dict[Wanted, tuple[str, tuple[Wanted, ...]]] = {}

    def parts(self, file: str, scopes: Sequence[ast.AST], need: Needs) -> list[str]:
        """The digests of all in other files that a test needs, with their places.

        Args:
            file: That of the test.
            scopes: Its module and classes.
            need: What the test needs of its own file.
        """
        if PurePosixPath(file).is_absolute():
            return []
        found: dict[Wanted, str] = {}
        left = [*self._elsewhere(file, scopes, need)]
        while left:
            wanted = left.pop()
            if wanted not in found:
                found[wanted], more = self._step(wanted)
                left += more
        return [f"{name}:{place}:{digest}" for (name, place), digest in sorted(found.items())]

    def _step(self, wanted: Wanted) -> tuple[str, tuple[Wanted, ...]]:
        """The digest of what gives a name in a file, and what it needs of other files."""
        if wanted not in self._steps:
            file, name = wanted
            module = syntax_tree(self.root / file) or ast.Module([], [])
            need = needs(module.body, {name})
            if name == _WHOLE:
                need = Needs(module.body, frozenset().union(*map(used, module.body)))
            code = "\n".join(code_of(statement, module) for statement in need.statements)
            more = tuple(dict.fromkeys(self._elsewhere(file, [module], need)))
            self._steps[wanted] = digest_of(code), more
        return self._steps[wanted]

    def _elsewhere(self, file: str, scopes: Sequence[ast.AST], need: Needs) -> Iterator[Wanted]:
        """What some code of a file needs of other files."""
        for scope in scopes:
            for node in ast.walk(scope):
                if isinstance(node, ast.ImportFrom):
                    yield from self._import_from(node, file, need)
                elif isinstance(node, ast.Import):
                    for alias in node.names:
                        yield from self._module(
                            self._find(alias.name, 0, file), alias.asname or alias.name, need
                        )
        yield from self._fixtures(file, need)

    def _import_from(self, node: ast.ImportFrom, file: str, need: Needs) -> Iterator[Wanted]:
        source = self._find(node.module or "", node.level, file)
        for alias in node.names:
            here = alias.asname or alias.name
            if alias.name == "*" and source:
                yield from ((source, name) for name in need.names & self._given(source))
            elif here in need.names:
                inner = f"{node.module or ''}.{alias.name}"
                if source:
                    yield source, alias.name
                yield from self._module(self._find(inner, node.level, file), here, need)

    def _module(self, source: str, here: str, need: Needs) -> Iterator[Wanted]:
        """What is used of a module by its name: all of it, if it is used in another way."""
        if source and here.partition(".")[0] in need.names:
            names = {
                node.attr
                for statement in need.nodes
                for node in ast.walk(statement)
                if isinstance(node, ast.Attribute) and dotted(node.value) == here
            }
            yield from ((source, name) for name in names or {_WHOLE})

    def _fixtures(self, file: str, need: Needs) -> Iterator[Wanted]:
        """The fixtures and hooks of the files that pytest reads for all tests of a folder."""
        for source in self._shared(file):
            module = syntax_tree(self.root / source)
            if source == file or module is None:
                continue
            automatic = {name for node in module.body if is_automatic(node) for name in given(node)}
            yield from ((source, name) for name in need.names & self._given(source) | automatic)

    def _shared(self, file: str) -> list[str]:
        """Each conftest.py of the folder and those around it, with the plugins that they name."""
        folders = PurePosixPath(file).parents
        found = [str(folder / "conftest.py") for folder in folders]
        for source in [file, *found]:
            module = syntax_tree(self.root / source)
            for statement in module.body if module else ():
                if isinstance(statement, ast.Assign) and "pytest_plugins" in given(statement):
                    nodes = ast.walk(statement.value)
                    names = [string(node) for node in nodes if isinstance(node, ast.Constant)]
                    found += filter(None, (self._find(name, 0, source) for name in names if name))
        return list(dict.fromkeys(found))

    def _given(self, file: str) -> frozenset[str]:
        """The names that a file gives to something, or has from others."""
        module = syntax_tree(self.root / file)
        return _names_of(module) if module else frozenset()

    def _find(self, name: str, level: int, importer: str) -> str:
        """The file of a module, as Python would find it; empty if it is none of tests."""
        parts = [part for part in name.split(".") if part]
        around = [*PurePosixPath(importer).parents]
        folders = around[level - 1 : level] if level else [*around, PurePosixPath("src")]
        for folder in folders:
            stem = folder.joinpath(*parts)
            places = [stem / "__init__.py", stem.with_suffix(".py")] if stem.name else []
            for place in places:
                if (self.root / place).is_file():
                    return str(place) if is_of_tests(str(place)) else ""
        return ""


@lru_cache(maxsize=4096)
def _names_of(module: ast.Module) -> frozenset[str]:
    imported = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(module)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    return frozenset(imported).union(*map(given, module.body))


def syntax_tree(path: Path) -> ast.Module | None:
    """The syntax tree of a file; none if there is no such file, or it is not Python."""
    if path.suffix != ".py" or not path.is_file():
        return None
    status = path.stat()
    return _parsed(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=512)
def _parsed(path: Path, changed: int, size: int) -> ast.Module | None:
    del changed, size
    try:
        return ast.parse(files.source(path))
    except (OSError, SyntaxError, ValueError, *TOO_DEEP):
        return None
