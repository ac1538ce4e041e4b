"""Digests of functions: the same whatever their formatting and their comments.

Evidence keeps them, so that what was proven of a function is not believed of another one that has
taken its place. Python's code is compared as its syntax tree without docstrings (with them in a
file that reads one), Rust's as its text without comments and white space.
"""

import ast
import builtins
import copy
import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

__all__ = ["claim_digest", "mark_digest", "rust_digest"]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_RUST_TOKEN = re.compile(
    r"""
    (?P<string>\b(?:b|c)?r(?P<hashes>\#*)".*?"(?P=hashes)
      | (?:\b[bc])?"(?:[^"\\]|\\.)*"
      | (?:\bb)?'(?:[^'\\\n]|\\(?:[^u\n]|u\{[^}]*\}))')
  | (?P<comment>//[^\n]*|/\*.*?\*/)
  | (?P<space>\s+)
    """,
    re.VERBOSE | re.DOTALL,
)


def mark_digest(around: Sequence[ast.AST]) -> str:
    """The digest of the outermost function around a mark; of its class or module if in none.

    Args:
        around: The module, and the classes and functions in which the mark stands, outermost first.
    """
    functions = [node for node in around if isinstance(node, _FUNCTIONS)]
    return _digest(_python(functions[0] if functions else around[-1], around[0]))


def claim_digest(around: Sequence[ast.AST]) -> str:
    """The digest of a test, given as that of a mark is, with what says whether and how it runs.

    That is: the decorators of its classes, and the statements of its module and classes that name
    `pytestmark`, `__test__`, or what stands in a decorator, such as the list of its parameters.
    """
    parts = [_python(around[-1], around[0])]
    names = {"pytestmark", "__test__"}
    for node in around[1:]:
        for decorator in getattr(node, "decorator_list", ()):
            names |= _names(decorator)
            if node is not around[-1]:
                parts.append(_python(decorator, around[0]))
    scopes = [node for node in around[:-1] if isinstance(node, (ast.Module, ast.ClassDef))]
    for scope in scopes:
        parts += _statements(scope, names, around[0])
    return _digest("\n".join(parts))


def _statements(scope: ast.Module | ast.ClassDef, names: set[str], module: ast.AST) -> list[str]:
    """The statements of a module or class that name one of these, or what those name in turn."""
    names = names - _foreign(scope)
    found: dict[int, str] = {}
    while True:
        known = len(found)
        for place, statement in enumerate(scope.body):
            if place not in found and not names.isdisjoint(_named(statement)):
                found[place] = _python(statement, module)
                if not isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
                    names = (names | _names(statement)) - _foreign(scope)
        if len(found) == known:
            return [found[place] for place in sorted(found)]


def _named(statement: ast.stmt) -> set[str]:
    """What a statement names: a function or a class names itself only."""
    if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
        return {statement.name}
    return _names(statement)


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _foreign(scope: ast.Module | ast.ClassDef) -> set[str]:
    """The names that are Python's own, or stand for what is in another file."""
    return {*dir(builtins)} | {
        (alias.asname or alias.name).partition(".")[0]
        for node in scope.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }


def _python(node: ast.AST, module: ast.AST) -> str:
    """The code of a node, of which docstrings are a part if its module reads some."""
    if _reads_docstrings(module):
        return ast.unparse(node)
    bare = copy.deepcopy(node)
    for inner in ast.walk(bare):
        body = getattr(inner, "body", None)
        if isinstance(body, list) and _is_docstring(body):
            body[0] = ast.Pass()
    return ast.unparse(bare)


@lru_cache(maxsize=8)
def _reads_docstrings(module: ast.AST) -> bool:
    """Whether a file names what gives a docstring."""
    words = ("__doc__", "getdoc")
    return any(
        getattr(node, "attr", "") in words
        or getattr(node, "id", "") in words
        or (isinstance(node, ast.Constant) and node.value == "__doc__")
        for node in ast.walk(module)
    )


def _is_docstring(body: list[ast.stmt]) -> bool:
    return (
        bool(body)
        and isinstance(body[0], ast.Expr)
        and isinstance(body[0].value, ast.Constant)
        and isinstance(body[0].value.value, str)
    )


def rust_digest(code: str) -> str:
    """The digest of a piece of Rust, as a function with its attributes."""
    bare = _RUST_TOKEN.sub(lambda token: token["string"] or "", code)
    return _digest(re.sub(r",([)\]}])", r"\1", bare))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
