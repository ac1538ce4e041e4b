"""How a mark of Python is in its code: the rest of the code while the mark is disabled.

A disabled condition is false, which takes away what the code does for a true one. In a filter it is
the other way round: a comprehension's `if`, or `all`, does something for a false condition only.
There a test fails without the mark even if it never shows what the filter is for. The same is true
of an `and` of several marks of one requirement. And a mark whose true branch does nothing, with an
`else` that refuses, is the same as a negated mark. What a branch does for a false condition is
found by `branches`.
"""

import ast
from collections.abc import Sequence

from vespiary.prove.trace.branches import branching, calls

__all__ = ["ABOVE", "IDLE", "INVERTED"]
__all__ += ["form_of_function", "forms_of_conditions"]
__all__ += ["is_constant", "is_idle", "misuse", "stands_above"]

IDLE = (
    "the code that the mark guards does nothing: let it guard the code that does what the"
    " requirement demands"
)
"""What is wrong with `if requires(...): pass`."""

INVERTED = (
    "what refuses runs only while the mark is false, so it also runs while the mark is disabled:"
    " write the condition that refuses, as in if requires(..., not valid): raise ..."
)
"""What is wrong with `if requires(...): pass`, followed by an `else`."""

ABOVE = "implements is not above a function: write it directly above def, below other decorators"
"""What is wrong with an `implements` above `@property`, or above a class."""

_OBJECTS = (
    *("property", "cached_property", "setter", "getter", "deleter"),
    *("classmethod", "staticmethod", "cache", "lru_cache"),
)
"""The last names of decorators whose result is not a function."""

_FILTERS = ("all", "filter", "takewhile")
"""The functions that do nothing for what is true."""


def form_of_function(call: ast.Call, function: ast.AST | None) -> str:
    """The form of an `implements` above a function.

    Args:
        call: The decorator.
        function: What it stands above, if it is known.

    Returns:
        `result` if the function has a result for when it is disabled: that of `disabled=`, or None
        if its annotation says that None is a result. Else `function`.
    """
    if any(keyword.arg == "disabled" for keyword in call.keywords):
        return "result"
    returns = getattr(function, "returns", None)
    return "result" if returns is not None and _allows_none(returns) else "function"


def stands_above(decorator: ast.expr, node: ast.AST) -> bool:
    """Whether a decorator stands above something that is not a function, as far as can be seen."""
    decorators = getattr(node, "decorator_list", [])
    below = decorators[decorators.index(decorator) + 1 :]
    functions = [one.func if isinstance(one, ast.Call) else one for one in below]
    return isinstance(node, ast.ClassDef) or any(
        _last_name(function) in _OBJECTS for function in functions
    )


def _allows_none(annotation: ast.expr) -> bool:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            annotation = ast.parse(annotation.value, mode="eval").body
        except SyntaxError:
            return False
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return _allows_none(annotation.left) or _allows_none(annotation.right)
    if isinstance(annotation, ast.Subscript):
        return ast.unparse(annotation.value).rpartition(".")[2] == "Optional"
    return isinstance(annotation, ast.Constant) and annotation.value is None


def forms_of_conditions(tree: ast.AST) -> dict[ast.Call, str]:
    """The calls in a file whose value is not just a condition: each a `filter` or a `choice`."""
    return branching(tree) | dict.fromkeys(_filtering(tree), "filter")


def _filtering(tree: ast.AST) -> set[ast.Call]:
    """The calls in a file whose value lets something pass if it is true."""
    found: set[ast.Call] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.comprehension):
            found.update(*map(calls, node.ifs))
        elif isinstance(node, ast.Call) and _last_name(node.func) in _FILTERS:
            found.update(*map(calls, node.args))
        elif isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
            found |= _chained(node.values)
        elif isinstance(node, ast.If) and not node.orelse and len(node.body) == 1:
            inner = node.body[0]
            if isinstance(inner, ast.If) and not inner.orelse:
                found |= _chained([node.test, inner.test])
    return found


def _chained(conditions: Sequence[ast.expr]) -> set[ast.Call]:
    """The marks that several conditions, all of which must be true, have of one requirement."""
    operands = [[(call, _strings(call)) for call in calls(value)] for value in conditions]
    return {
        call
        for place, operand in enumerate(operands)
        for call, ids in operand
        for other in (*operands[:place], *operands[place + 1 :])
        for _, others in other
        if ids & others
    }


def _strings(call: ast.Call) -> set[str]:
    """The identifiers of a mark with a condition: what it has before its last argument."""
    return {
        argument.value
        for argument in call.args[:-1]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


def _last_name(function: ast.expr) -> str:
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else ""


def misuse(branch: ast.If, following: ast.AST | None) -> str:
    """What is wrong with a branch whose test is a mark; empty if nothing is.

    Args:
        branch: The statement.
        following: The statement after it.
    """
    if all(map(is_idle, branch.body)):
        return INVERTED if branch.orelse else IDLE
    after = branch.orelse[0] if branch.orelse else following
    if len(branch.body) == 1 and _leaves(branch.body[0]) and isinstance(after, ast.Raise):
        return INVERTED
    return ""


def is_constant(condition: ast.expr) -> bool:
    """Whether a condition depends on nothing: `1 == 1` as well as `True`."""
    return not any(isinstance(node, ast.Name) for node in ast.walk(condition))


def is_idle(statement: ast.stmt) -> bool:
    """Whether a statement does nothing."""
    is_value = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Pass) or is_value


def _leaves(statement: ast.stmt) -> bool:
    """Whether a statement goes away without a result."""
    if isinstance(statement, ast.Return):
        value = statement.value
        return value is None or (isinstance(value, ast.Constant) and value.value is None)
    return isinstance(statement, ast.Continue)
