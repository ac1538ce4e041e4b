"""Give the API reference the types of `vespiary._core`, which its compiled classes do not have.

A compiled class has no annotations. Its stub has them, so the public classes are replaced by those
of the stub while the documents are built. The stub is executed as Python, with one change: what a
type checker sees as a function that returns a coroutine becomes an `async def`, so that the
reference marks what is awaited.
"""

import ast
import importlib
import sys
import types
from pathlib import Path

from sphinx.application import Sphinx

import vespiary

_CLASSES = ("Connection", "Timer")
_COROUTINES = ("Coroutine", "_Outcome")


class _Awaited(ast.NodeTransformer):
    """Write `def f() -> Coroutine[Any, Any, T]` as `async def f() -> T`."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        returns = node.returns
        if not isinstance(returns, ast.Subscript) or not isinstance(returns.value, ast.Name):
            return node
        if returns.value.id not in _COROUTINES:
            return node
        arguments = returns.slice
        if isinstance(arguments, ast.Tuple):
            arguments = arguments.elts[-1]
        fields = dict(ast.iter_fields(node)) | {"returns": arguments}
        return ast.copy_location(ast.AsyncFunctionDef(**fields), node)


def _stub(folder: Path) -> types.ModuleType:
    """Import the stub, from a file of Python in this folder: the order of members is its."""
    source = Path(vespiary.__file__).with_name("_core.pyi").read_text().replace("_M_co", "M")
    tree = _Awaited().visit(ast.parse("from __future__ import annotations\n" + source))
    name = "vespiary_core_types"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(ast.unparse(ast.fix_missing_locations(tree)))
    sys.path.insert(0, str(folder))
    return importlib.import_module(name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Replace the classes; called by Sphinx before anything is read."""
    stub = _stub(Path(app.doctreedir))
    for name in _CLASSES:
        setattr(vespiary, name, getattr(stub, name))
    return {"parallel_read_safe": True}
