"""Digests of functions: the same whatever their formatting and their comments.

Evidence keeps them, so that what was proven of a function is not believed of another one that has
taken its place. Python's code is compared as its syntax tree without docstrings (with them in a
file that reads one), Rust's as its text without comments and white space. What a test uses of
other files is found by `helpers` and `rust_helpers`.
"""

import ast
import re
from collections.abc import Sequence

from vespiary.prove.trace.helpers import Helpers
from vespiary.prove.trace.needs import FUNCTIONS, RUNS, code_of, digest_of, needs, used

__all__ = ["claim_digest", "mark_digest", "rust_digest"]

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
    functions = [node for node in around if isinstance(node, FUNCTIONS)]
    return digest_of(code_of(functions[0] if functions else around[-1], around[0]))


def claim_digest(around: Sequence[ast.AST], file: str = "", helpers: Helpers | None = None) -> str:
    """The digest of a test, given as that of a mark is, with all that decides on it.

    That is: what says whether and how it runs, as the decorators of its classes, `pytestmark` and
    `__test__`; the functions, fixtures and values of its file that it uses, and those that these
    use; where the names are from that it imports; and the same of other files of tests.

    Args:
        around: The module, and the classes and functions in which the claim stands.
        file: The test's file, relative to the project.
        helpers: The project's files of tests; none to stay in this file.
    """
    test, module = around[-1], around[0]
    classes = [node for node in around[1:-1] if isinstance(node, ast.ClassDef)]
    code = [test, *(one for node in classes for one in (*node.decorator_list, *node.bases))]
    scopes = [node for node in around[:-1] if isinstance(node, (ast.Module, ast.ClassDef))]
    statements = [statement for scope in scopes for statement in scope.body if statement != test]
    need = needs(statements, RUNS.union(*map(used, code)), code)
    parts = [code_of(node, module) for node in need.nodes]
    parts += _imported(scopes, need.names)
    return digest_of(
        "\n".join([*parts, *(helpers.parts(file, [*scopes, test], need) if helpers else ())])
    )


def _imported(scopes: Sequence[ast.Module | ast.ClassDef], names: frozenset[str]) -> list[str]:
    """Where the names are from that a test uses and its file imports."""
    return sorted(
        f"{'.' * getattr(node, 'level', 0)}{getattr(node, 'module', '')}:{alias.name}:{name}"
        for scope in scopes
        for node in ast.walk(scope)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
        for name in [alias.asname or alias.name]
        if name.partition(".")[0] in names or name == "*"
    )


def rust_digest(code: str) -> str:
    """The digest of a piece of Rust, as a function with its attributes."""
    bare = _RUST_TOKEN.sub(lambda token: token["string"] or "", code)
    return digest_of(re.sub(r",([)\]}])", r"\1", bare))
