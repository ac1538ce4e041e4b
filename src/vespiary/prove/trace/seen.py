"""What only a run has seen: marks and claims that reading the sources does not find.

A mark may be called by a name from another file, are in a file that no pattern names, or have its
identifiers from a macro; a claim may be made by a `conftest.py`. The run says where they stand.
Their functions are digested as those of all others, so that they cannot change unnoticed. Where no
function of Python is found, the whole file is.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from vespiary.prove.trace import files
from vespiary.prove.trace.digests import claim_digest, mark_digest, rust_digest
from vespiary.prove.trace.forms import form_of_function, forms_of_conditions
from vespiary.prove.trace.helpers import Helpers, syntax_tree
from vespiary.prove.trace.proving.record import Mark, Source

__all__ = ["Place", "form_at", "sources_again", "sources_seen"]

Place = tuple[str, str, int]
"""An identifier, the file of a test that claims it, relative to the project, and the line."""

Chain = list[ast.AST]
"""A function or class, after all that it is in, the module first."""


def sources_seen(
    root: Path, marks: Iterable[Mark], claims: Iterable[Place], scanned: Sequence[Source]
) -> list[Source]:
    """The functions around marks and claims that a run has reported and a scan has not found.

    Args:
        root: The project's folder.
        marks: All that the run has told.
        claims: The same of the tests that claim something.
        scanned: What the scan has found.
    """
    known = {(source.kind, source.id, source.site) for source in scanned}
    helpers = Helpers(root)
    found: dict[Source, None] = {}
    for mark in marks:
        for name in mark.ids:
            if ("mark", name, mark.site) not in known:
                found[_source(helpers, "mark", (name, mark.file, mark.line))] = None
    for claim in claims:
        source = _source(helpers, "claim", claim)
        if not any(_holds(other, source) for other in scanned):
            found[source] = None
    return list(found)


def sources_again(
    root: Path, then: Iterable[Source], scanned: Sequence[Source]
) -> Iterator[Source]:
    """What only a run had seen, as it is now; what a scan finds by now is not repeated."""
    known = {(source.kind, source.id, source.file, source.function) for source in scanned}
    helpers = Helpers(root)
    for source in then:
        same = (source.kind, source.id, source.file, source.function)
        if source.by_run and same not in known:
            now = _again(helpers, source)
            if now is not None:
                yield now


def form_at(path: Path, line: int, ids: tuple[str, ...]) -> str:
    """The form of a mark of Python, as `marks` has it; a `condition` if it is not found."""
    tree = syntax_tree(path)
    above = _decorated(tree) if tree else {}
    forms = forms_of_conditions(tree) if tree else {}
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Call) and node.lineno == line:
            texts = [one.value if isinstance(one, ast.Constant) else None for one in node.args]
            if tuple(texts) == ids:
                return form_of_function(node, above[node]) if node in above else "statement"
            if node in forms and tuple(texts[:-1]) == ids:
                return forms[node]
    return "condition"


def _decorated(tree: ast.AST) -> dict[ast.AST, ast.AST]:
    """What is below each decorator of a file."""
    return {
        decorator: node
        for node in ast.walk(tree)
        for decorator in getattr(node, "decorator_list", ())
    }


def _holds(scanned: Source, test: Source) -> bool:
    """Whether a claim that was scanned is that of a test: of its function, class or module."""
    if (scanned.kind, scanned.id, scanned.file) != ("claim", test.id, test.file):
        return False
    return f"{test.function}.".startswith(f"{scanned.function}.") or not scanned.function


def _source(helpers: Helpers, kind: str, place: Place) -> Source:
    name, file, line = place
    root = helpers.root
    tree = syntax_tree(root / file)
    chain = max(_chains_at(tree, line), key=len, default=[]) if tree else []
    is_file = len(chain) < 2
    digest = _digest_of_file(root / file) if is_file else _digest(helpers, kind, file, chain)
    return Source(name, kind, file, line, _scope(chain), digest, by_run=True)


def _again(helpers: Helpers, source: Source) -> Source | None:
    """The same function as it is now; one of several with its name, if there are."""
    path = helpers.root / source.file
    if not path.is_file():
        return None
    if not source.function:
        return replace(source, digest=_digest_of_file(path))
    tree = syntax_tree(path)
    chains = [chain for chain in _chains(tree) if _scope(chain) == source.function] if tree else []
    digests = [_digest(helpers, source.kind, source.file, chain) for chain in chains]
    if not digests:
        return None
    return source if source.digest in digests else replace(source, digest=digests[0])


def _digest(helpers: Helpers, kind: str, file: str, chain: Chain) -> str:
    return mark_digest(chain) if kind == "mark" else claim_digest(chain, file, helpers)


def _digest_of_file(path: Path) -> str:
    tree = syntax_tree(path)
    if tree is not None:
        return mark_digest([tree])
    try:
        return rust_digest(files.source(path)) if path.suffix == ".rs" else _bytes_digest(path)
    except OSError:
        return ""


def _bytes_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _scope(chain: Chain) -> str:
    return ".".join(str(getattr(node, "name", "")) for node in chain[1:])


def _chains_at(tree: ast.Module, line: int) -> Iterator[Chain]:
    for chain in _chains(tree):
        node = chain[-1]
        assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        if first <= line <= (node.end_lineno or line):
            yield chain


def _chains(tree: ast.Module) -> Iterator[Chain]:
    """Every function and class of a file."""
    left: list[tuple[ast.AST, Chain]] = [(tree, [tree])]
    while left:
        node, chain = left.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                left.append((child, [*chain, child]))
                yield [*chain, child]
            else:
                left.append((child, chain))
