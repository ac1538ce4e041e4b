"""What some code of Python needs of its file: the statements that give its names their values."""

import ast
import builtins
import copy
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

__all__ = [
    "FUNCTIONS",
    "RUNS",
    "Needs",
    "code_of",
    "digest_of",
    "given",
    "is_automatic",
    "needs",
    "used",
]

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, slots=True)
class Needs:
    """What some code needs.

    Attributes:
        statements: In their order.
        names: All names that the code and the statements use.
        code: The code itself.
    """

    statements: Sequence[ast.stmt]
    names: frozenset[str]
    code: tuple[ast.AST, ...] = ()

    @property
    def nodes(self) -> list[ast.AST]:
        """The code, and the statements that it needs."""
        return [*self.code, *self.statements]


RUNS = frozenset({"pytestmark", "__test__", "setUp", "setUpClass", "tearDown", "tearDownClass"})
RUNS |= {f"{word}_{what}" for word in ("setup", "teardown")
          for what in ("module", "class", "function", "method")}  # fmt: skip
RUNS |= {"pytest_generate_tests", "pytest_collection_modifyitems", "pytest_fixture_setup"}
RUNS |= {"pytest_pyfunc_call", "pytest_runtest_setup", "pytest_runtest_call"}
RUNS |= {"pytest_runtest_makereport", "pytest_runtest_protocol", "pytest_runtest_teardown"}
"""What decides on each test of a file or class, whether the test names it or not."""

_ASKING = ("usefixtures", "getfixturevalue")
"""The functions that ask for a fixture by a string."""


def needs(
    statements: Sequence[ast.stmt], wanted: Iterable[str], code: Iterable[ast.AST] = ()
) -> Needs:
    """The statements that give some names their values, and those that these need in turn.

    Args:
        statements: Of a file and its classes.
        wanted: The names.
        code: What uses them.
    """
    names = set(wanted)
    found: set[int] = set()
    foreign = _foreign(statements)
    while True:
        known = len(found)
        for place, statement in enumerate(statements):
            is_needed = (
                not (names - foreign).isdisjoint(_named(statement))
                or not names.isdisjoint(given(statement))
                or is_automatic(statement)
            )
            if is_needed and place not in found:
                found.add(place)
                names |= used(statement)
        if len(found) == known:
            chosen = [statements[place] for place in sorted(found)]
            return Needs(chosen, frozenset(names), tuple(code))


def _named(statement: ast.stmt) -> frozenset[str]:
    """What a statement names: a function or a class names itself only."""
    if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
        return given(statement)
    return used(statement)


@lru_cache(maxsize=4096)
def given(statement: ast.stmt) -> frozenset[str]:
    """The names to which a statement gives a value: of what is imported it then takes the place.

    A fixture may have a name besides that of its function.
    """
    if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
        names = {
            str(keyword.value.value)
            for decorator in statement.decorator_list
            if isinstance(decorator, ast.Call)
            for keyword in decorator.keywords
            if keyword.arg == "name" and isinstance(keyword.value, ast.Constant)
        }
        return frozenset({statement.name, *names})
    return frozenset(
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )


@lru_cache(maxsize=4096)
def used(node: ast.AST) -> frozenset[str]:
    """The names in a node: also of its own methods, its parameters and the fixtures it asks for."""
    found: set[str] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            found.add(inner.id)
        elif isinstance(inner, ast.arg):
            found.add(inner.arg)
        elif isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name):
            found |= {inner.attr} if inner.value.id in ("self", "cls") else set()
        elif isinstance(inner, ast.Call) and ast.unparse(inner.func).endswith(_ASKING):
            found |= {str(one.value) for one in inner.args if isinstance(one, ast.Constant)}
    return frozenset(found)


def is_automatic(statement: ast.stmt) -> bool:
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


@lru_cache(maxsize=1024)
def code_of(node: ast.AST, module: ast.AST) -> str:
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


def digest_of(text: str) -> str:
    """The digest of some code."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
