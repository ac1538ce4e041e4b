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
from collections.abc import Iterator
from typing import Any, TypeVar

__all__ = ["without_marks"]

_Function = TypeVar("_Function")
_trees: dict[str, ast.Module] = {}

_ENCLOSING = "<enclosing>"
_UNMARKED = "<unmarked>"
"""Names that no program can have: neither one of its functions, nor a variable that one reads."""


def without_marks(function: _Function) -> _Function:
    """The same function without the calls of `requires` in it, or itself if it cannot be made."""
    if not isinstance(function, types.FunctionType):
        return function
    node = _definition(function)
    if node is None or _is_mangled(node):
        return function
    others = _bound(node) | {*function.__code__.co_freevars}
    names = {name: value for name, value in function.__globals__.items() if name not in others}
    bare = _Unmarking(names).visit(copy.deepcopy(node))
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
    """The function's definition in the source; None if the source is not available."""
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


def _names(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """All names within a definition, each with the node that has it."""
    for inner in ast.walk(node):
        if inner is not node and not isinstance(inner, ast.Constant):
            for _, value in ast.iter_fields(inner):
                for one in value if isinstance(value, list) else [value]:
                    if isinstance(one, str):
                        yield inner, one


def _is_mangled(node: ast.AST) -> bool:
    """Whether a name is in use that a class would change: `__name`."""
    return any(
        name.startswith("__") and not name.endswith("__")
        for inner, name in _names(node)
        if not isinstance(inner, ast.keyword)
    )


def _bound(node: ast.AST) -> set[str]:
    """The names that have a meaning of their own somewhere in a function: a parameter, a local."""
    return {
        name.partition(".")[0]
        for inner, name in _names(node)
        if not isinstance(inner, ast.Attribute | ast.keyword)
        and not isinstance(getattr(inner, "ctx", None), ast.Load)
    }


def _compiled(function: types.FunctionType, node: Any) -> types.CodeType | None:
    """The code of a definition, compiled within a function that has its free variables."""
    node.decorator_list = []
    node.name = _UNMARKED
    assigned = "".join(f"\n {name} = None" for name in function.__code__.co_freevars)
    module = ast.parse(f"def enclosing():{assigned}\n pass")
    enclosing = module.body[0]
    assert isinstance(enclosing, ast.FunctionDef)
    enclosing.name = _ENCLOSING
    enclosing.body.append(node)
    flags = function.__code__.co_flags & __future__.annotations.compiler_flag
    file = function.__code__.co_filename
    compiled = compile(ast.fix_missing_locations(module), file, "exec", flags, dont_inherit=True)
    (within,) = _codes(compiled)
    # A function with type parameters is inside another function, which has them.
    for code in [one for level in (within, *_codes(within)) for one in _codes(level)]:
        if code.co_name == _UNMARKED:
            old = function.__code__
            return code.replace(co_name=old.co_name, co_qualname=old.co_qualname)
    return None


def _codes(code: types.CodeType) -> list[types.CodeType]:
    return [one for one in code.co_consts if isinstance(one, types.CodeType)]


class _Unmarking(ast.NodeTransformer):
    """Replaces marks; a name is one if it is this package's `requires`.

    Arguments that are unpacked (`requires(*ids)`) are left alone: what they are is not known here.
    """

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
        is_plain = not any(isinstance(one, ast.Starred) for one in node.args)
        return value is vespiary_trace.requires and bool(node.args) and is_plain
