"""Under which names the files of a project call marks and claims.

A mark is known by its import from `vespiary_trace` or `vespiary.trace`, under whichever name, also
through another file that has imported it. After `req = pytest.mark.requirement`, `@req("a/1/1")` is
a claim, even in files that import the name. A module's file is found as Python finds it: a relative
import names a file next to the importer. Of several others, the nearest one is used.
"""

import ast
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TypeVar

__all__ = ["TOO_DEEP", "Names", "dotted", "names_of", "project_names", "string", "words_of"]

TOO_DEEP = (MemoryError, RecursionError)
"""What Python's parser raises for a source that is nested too deeply."""

_MODULES = ("vespiary.trace", "vespiary_trace")
_MARKS = ("requires", "implements")
_ORIGINS = re.compile(
    r"\bvespiary_trace\b|\bvespiary\b.*\btrace\b|\bmark\.requirement\b"
    r"|\bimport\b.*\bmark\b|\.mark\s*$",
    re.MULTILINE,
)
"""Sources without these give no name to a mark or claim, unless they have it from another."""

_ROUNDS_MAX = 8
"""Through how many files a name is followed."""

_Value = TypeVar("_Value")


@dataclass(slots=True)
class Names:
    """Dotted names, as a file writes them.

    Attributes:
        marks: Each with what it stands for: `requires` or `implements`.
        claims: Each with the identifiers that it has already.
    """

    marks: dict[str, str] = field(default_factory=dict)
    claims: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def take(self, other: "Names", name: str, here: str) -> None:
        """Take over a name of another file, and all that it is the beginning of."""
        _take(self.marks, other.marks, name, here)
        _take(self.claims, other.claims, name, here)

    def take_all(self, other: "Names", before: str = "") -> None:
        """Take over every name of another file, behind a module's name if there is one."""
        self.marks |= {before + name: mark for name, mark in other.marks.items()}
        self.claims |= {before + name: ids for name, ids in other.claims.items()}


def _take(ours: dict[str, _Value], theirs: Mapping[str, _Value], name: str, here: str) -> None:
    for known, value in theirs.items():
        if known == name or known.startswith(f"{name}."):
            ours[here + known[len(name) :]] = value


_ORIGIN = Names({mark: mark for mark in _MARKS})
"""What `vespiary_trace` has."""


def project_names(texts: Mapping[str, str]) -> dict[str, Names]:
    """The names of all files that have some, by file.

    Args:
        texts: By file: every source of Python.
    """
    found: dict[str, Names] = {}
    words = _ORIGINS
    for _ in range(_ROUNDS_MAX):
        before = _every(found)
        files = _Files(found)
        for file, text in texts.items():
            if words.search(text) and (tree := _parsed(text)) is not None:
                names = names_of(tree, file, files)
                if names.marks or names.claims:
                    found[file] = names
        if _every(found) == before:
            break
        words = re.compile(rf"{words_of(found).pattern}|import \*|{_ORIGINS.pattern}", re.MULTILINE)
    return found


def words_of(names: Mapping[str, Names]) -> re.Pattern[str]:
    """What a source has that has a mark or claim: the last parts of their names."""
    last = {name.rpartition(".")[2] for _, name in _every(names)}
    every = sorted({*_MARKS, "requirement", *last})
    return re.compile(rf"\b(?:{'|'.join(every)})\b")


def _every(found: Mapping[str, Names]) -> set[tuple[str, str]]:
    return {(file, name) for file, names in found.items() for name in (*names.marks, *names.claims)}


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, *TOO_DEEP):
        return None


class _Files:
    """The files that have names, found by the names of their modules."""

    def __init__(self, names: Mapping[str, Names]) -> None:
        self._names = names
        self._by_stem: dict[str, list[str]] = {}
        for file in names:
            self._by_stem.setdefault(_module(file)[-1], []).append(file)

    def module(self, name: str, level: int, importer: str) -> Names:
        """What a module has; nothing if it is none of the project's."""
        parts = tuple(part for part in name.split(".") if part)
        if level:
            folder = PurePosixPath(importer).parent.parts
            parts = (*folder[: len(folder) - level + 1], *parts)
        if not parts:
            return Names()
        candidates = [
            file
            for file in self._by_stem.get(parts[-1], ())
            if (_module(file) == parts if level else _module(file)[-len(parts) :] == parts)
        ]
        nearest = min(candidates, key=lambda file: _distance(file, importer), default="")
        return self._names[nearest] if nearest else Names()


def _module(file: str) -> tuple[str, ...]:
    """The parts of a module's name, from the project's folder."""
    parts = PurePosixPath(file).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts


def _distance(file: str, importer: str) -> tuple[int, str]:
    folder = PurePosixPath(importer).parent
    return len(PurePosixPath(os.path.relpath(file, folder)).parts), file


def names_of(tree: ast.Module, file: str, files: _Files | None = None) -> Names:
    """The names of one file, those of other files as far as they are known."""
    names, others = Names(), files or _Files({})
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            _import_from(node, file, others, names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                stem = f"{alias.asname or alias.name}."
                if alias.name in _MODULES:
                    names.take_all(_ORIGIN, stem)
                elif alias.name == "vespiary":
                    names.take_all(_ORIGIN, f"{stem}trace.")
                else:
                    names.take_all(others.module(alias.name, 0, file), stem)
    for target, value in _assigned(tree):
        _assign(target, value, names)
    return names


def _import_from(node: ast.ImportFrom, file: str, others: _Files, names: Names) -> None:
    module = node.module or ""
    is_origin = module in _MODULES and not node.level
    given = _ORIGIN if is_origin else others.module(module, node.level, file)
    for alias in node.names:
        here = alias.asname or alias.name
        if alias.name == "*":
            names.take_all(given)
            continue
        names.take(given, alias.name, here)
        if (module, alias.name) == ("vespiary", "trace"):
            names.take_all(_ORIGIN, f"{here}.")
        elif (module, alias.name) == ("pytest", "mark"):
            names.claims[f"{here}.requirement"] = ()
        elif not is_origin:
            inner = f"{module}.{alias.name}" if module else alias.name
            names.take_all(others.module(inner, node.level, file), f"{here}.")


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """The names that a file's top level gives to values, branches included."""
    left: list[ast.AST] = list(reversed(tree.body))
    while left:
        node = left.pop()
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.value
        elif isinstance(node, ast.AnnAssign) and node.value and isinstance(node.target, ast.Name):
            yield node.target.id, node.value
        elif isinstance(node, (ast.If, ast.Try, ast.With, ast.ExceptHandler)):
            left += reversed(list(ast.iter_child_nodes(node)))


def _assign(target: str, value: ast.expr, names: Names) -> None:
    """Take over what a name stands for by an assignment."""
    call = value if isinstance(value, ast.Call) else None
    name = dotted(call.func if call else value)
    is_claim = name in names.claims or name.endswith("mark.requirement")
    if is_claim and target != "pytestmark":
        known = names.claims.get(name, ())
        names.claims[target] = (*known, *map(string, call.args)) if call else known
    elif call is None and name.rpartition(".")[2] == "mark":
        names.claims[f"{target}.requirement"] = ()
    elif call is None and name:
        names.take(Names(dict(names.marks), dict(names.claims)), name, target)


def dotted(node: ast.expr) -> str:
    """A name with its attributes, as it is written; empty if it is something else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def string(node: ast.expr) -> str:
    """The text of a constant; empty if it is something else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
