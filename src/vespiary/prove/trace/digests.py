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
    """The digest of a test, given as that of a mark is, with all of its file that decides on it.

    That is: what says whether and how it runs, as the decorators of its classes, `pytestmark` and
    `__test__`; the functions, fixtures and values that it uses, and those that these use; and where
    the names are from that it imports.
    """
    test, module = around[-1], around[0]
    parts = [_python(test, module)]
    used = {*_RUNS, *_used(test)}
    for node in around[1:-1]:
        for decorator in getattr(node, "decorator_list", ()):
            used |= _used(decorator)
            parts.append(_python(decorator, module))
    scopes = [node for node in around[:-1] if isinstance(node, (ast.Module, ast.ClassDef))]
    statements = [statement for scope in scopes for statement in scope.body if statement != test]
    found, used = _needed(statements, used)
    parts += [_python(statement, module) for statement in found]
    return _digest("\n".join([*parts, *_imported(scopes, used)]))


_RUNS = frozenset({"pytestmark", "__test__", "setUp", "setUpClass", "tearDown", "tearDownClass"})
_RUNS |= {f"{word}_{what}" for word in ("setup", "teardown")
          for what in ("module", "class", "function", "method")}  # fmt: skip
"""What decides on each test of a file or class, whether the test names it or not."""


def _needed(statements: Sequence[ast.stmt], used: set[str]) -> tuple[list[ast.stmt], set[str]]:
    """The statements that give these names their values, and those that these need in turn.

    Returns:
        The statements in their order, and all names that they use.
    """
    found: set[int] = set()
    foreign = _foreign(statements)
    while True:
        known = len(found)
        for place, statement in enumerate(statements):
            is_needed = (
                not (used - foreign).isdisjoint(_named(statement))
                or not used.isdisjoint(_given(statement))
                or _is_automatic(statement)
            )
            if is_needed and place not in found:
                found.add(place)
                used = used | _used(statement)
        if len(found) == known:
            return [statements[place] for place in sorted(found)], used


def _named(statement: ast.stmt) -> frozenset[str]:
    """What a statement names: a function or a class names itself only."""
    if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
        return frozenset({statement.name})
    return _used(statement)


@lru_cache(maxsize=4096)
def _given(statement: ast.stmt) -> frozenset[str]:
    """The names to which a statement gives a value: of what is imported it then takes the place."""
    if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
        return frozenset({statement.name})
    return frozenset(
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )


@lru_cache(maxsize=4096)
def _used(node: ast.AST) -> frozenset[str]:
    """The names in a node: also of its own methods, its parameters and the fixtures it asks for."""
    found: set[str] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            found.add(inner.id)
        elif isinstance(inner, ast.arg):
            found.add(inner.arg)
        elif isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name):
            found |= {inner.attr} if inner.value.id in ("self", "cls") else set()
        elif isinstance(inner, ast.Call) and ast.unparse(inner.func).endswith("usefixtures"):
            found |= {str(one.value) for one in inner.args if isinstance(one, ast.Constant)}
    return frozenset(found)


def _is_automatic(statement: ast.stmt) -> bool:
    """Whether it is a fixture that all tests of the file have."""
    return any(
        isinstance(decorator, ast.Call)
        and any(keyword.arg == "autouse" for keyword in decorator.keywords)
        for decorator in getattr(statement, "decorator_list", ())
    )


def _foreign(statements: Sequence[ast.stmt]) -> set[str]:
    """The names that are Python's own, or stand for what is in another file."""
    return {*dir(builtins)} | {
        (alias.asname or alias.name).partition(".")[0]
        for node in statements
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }


def _imported(scopes: Sequence[ast.Module | ast.ClassDef], used: set[str]) -> list[str]:
    """Where the names are from that a test uses and its file imports."""
    return sorted(
        f"{'.' * getattr(node, 'level', 0)}{getattr(node, 'module', '')}:{alias.name}:{name}"
        for scope in scopes
        for node in ast.walk(scope)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
        for name in [alias.asname or alias.name]
        if name.partition(".")[0] in used or name == "*"
    )


@lru_cache(maxsize=1024)
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
