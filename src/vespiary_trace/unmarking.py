"""Compile a function again without its marks.

A mark is a call, which takes much longer than a comparison. So the function's source is read again:
`requires("a/1/1", condition)` becomes `condition`, and a mark without a condition becomes nothing.
Lines stay where they are, for tracebacks and debuggers.
"""

import __future__

import ast
import copy
import linecache
import types
from typing import Any, TypeVar

__all__ = ["without_marks"]

_Function = TypeVar("_Function")
_trees: dict[str, ast.Module] = {}


def without_marks(function: _Function) -> _Function:
    """The same function without the calls of `requires` in it, or itself if it cannot be made."""
    if not isinstance(function, types.FunctionType):
        return function
    node = _definition(function)
    if node is None or _is_mangled(node):
        return function
    bare = _Unmarking(function.__globals__).visit(copy.deepcopy(node))
    code = _compiled(function, bare)
    return _made(function, code) if code is not None else function


def _made(function: types.FunctionType, code: types.CodeType) -> Any:
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    if not set(code.co_freevars) <= set(cells):
        return function
    closure = tuple(cells[name] for name in code.co_freevars)
    made = types.FunctionType(
        code, function.__globals__, function.__name__, function.__defaults__, closure
    )
    made.__kwdefaults__ = function.__kwdefaults__
    made.__annotations__ = function.__annotations__
    made.__qualname__ = function.__qualname__
    made.__module__ = function.__module__
    made.__doc__ = function.__doc__
    made.__dict__.update(function.__dict__)
    return made


def _definition(function: types.FunctionType) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The function's definition in the source; None if the source is not at hand."""
    file = function.__code__.co_filename
    if file not in _trees:
        _trees.clear()
        try:
            _trees[file] = ast.parse("".join(linecache.getlines(file)), filename=file)
        except SyntaxError:
            return None
    for node in ast.walk(_trees[file]):
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name == function.__name__
        ):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first == function.__code__.co_firstlineno:
                return node
    return None


def _is_mangled(node: ast.AST) -> bool:
    """Whether a name is in use that a class would change: `__name`."""
    names = [getattr(inner, "attr", getattr(inner, "id", "")) for inner in ast.walk(node)]
    return any(name.startswith("__") and not name.endswith("__") for name in names)


def _compiled(function: types.FunctionType, node: Any) -> types.CodeType | None:
    """The code of a definition, compiled within a function that has its free variables."""
    node.decorator_list = []
    assigned = "".join(f"\n {name} = None" for name in function.__code__.co_freevars)
    module = ast.parse(f"def outer():{assigned}\n pass")
    outer = module.body[0]
    assert isinstance(outer, ast.FunctionDef)
    outer.body.append(node)
    flags = function.__code__.co_flags & __future__.annotations.compiler_flag
    file = function.__code__.co_filename
    compiled = compile(ast.fix_missing_locations(module), file, "exec", flags, dont_inherit=True)
    for level in (compiled, *_codes(compiled)):
        for code in _codes(level):
            if code.co_name == function.__name__:
                return code
    return None


def _codes(code: types.CodeType) -> list[types.CodeType]:
    return [one for one in code.co_consts if isinstance(one, types.CodeType)]


class _Unmarking(ast.NodeTransformer):
    """Replaces marks; a name is one if it is this package's `requires`."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """A mark is its condition."""
        self.generic_visit(node)
        if not self._is_mark(node):
            return node
        last = node.args[-1]
        is_statement = isinstance(last, ast.Constant) and isinstance(last.value, str)
        return ast.copy_location(ast.Constant(True), node) if is_statement else last

    def _is_mark(self, node: ast.Call) -> bool:
        import vespiary_trace

        value: object = None
        if isinstance(node.func, ast.Name):
            value = self._names.get(node.func.id)
        elif isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            value = getattr(self._names.get(node.func.value.id), node.func.attr, None)
        return value is vespiary_trace.requires and bool(node.args)
