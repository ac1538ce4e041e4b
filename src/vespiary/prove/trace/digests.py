"""Digests of functions: the same whatever their formatting and their comments.

Evidence keeps them, so that what was proven of a function is not believed of another one that has
taken its place. Python's code is compared as its syntax tree without docstrings, Rust's as its text
without comments and white space.
"""

import ast
import copy
import hashlib
import re
from collections.abc import Sequence

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
    """The digest of the code around a mark.

    Args:
        around: The module, and the classes and functions in which the mark stands, outermost first.
    """
    return _python_digest(around[-1])


def claim_digest(around: Sequence[ast.AST]) -> str:
    """The digest of a test, given as that of a mark is."""
    return _python_digest(around[-1])


def _python_digest(node: ast.AST) -> str:
    bare = copy.deepcopy(node)
    for inner in ast.walk(bare):
        body = getattr(inner, "body", None)
        if isinstance(body, list) and _is_docstring(body):
            body[0] = ast.Pass()
    return _digest(ast.unparse(bare))


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
