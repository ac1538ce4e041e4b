"""What Python code does where a marked condition is false: refuse, or give another result.

Usually it does nothing of its own there: `if requires(..., too_heavy): return "too heavy"`. But
`"shipped" if requires(..., paid) else "refused"` may mean that the mark lets something pass. A test
that asserts "shipped" then fails without the mark, and does not show that anything is ever refused.
Such a condition is a `filter` where its false branch refuses, and a `choice` where each branch has
a constant of its own, so that it cannot be seen which of them the requirement is about.
"""

import ast
from collections.abc import Iterator, Sequence
from itertools import pairwise

__all__ = ["branching", "calls"]

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Module, ast.Lambda)
_LEAVING = (ast.Return, ast.Raise, ast.Continue, ast.Break)


def branching(tree: ast.AST) -> dict[ast.Call, str]:
    """The calls in a file on whose value a branch depends that is a filter or a choice."""
    found: dict[ast.Call, str] = {}
    for scope in ast.walk(tree):
        if isinstance(scope, _SCOPES):
            nodes = [scope, *_own(scope)]
            bound = _bound(nodes)
            for test, yes, no in _branches(nodes):
                if form := _form(yes, no):
                    found |= dict.fromkeys(_calls_of(test, bound), form)
    return found


def calls(node: ast.AST) -> Iterator[ast.Call]:
    """All calls in a node."""
    return (inner for inner in ast.walk(node) if isinstance(inner, ast.Call))


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a scope, without those of the scopes within it."""
    left = list(ast.iter_child_nodes(scope))
    while left:
        node = left.pop()
        yield node
        if not isinstance(node, _SCOPES):
            left += ast.iter_child_nodes(node)


def _bound(nodes: Sequence[ast.AST]) -> dict[str, list[ast.Call]]:
    """By variable: the calls whose values it may have."""
    found: dict[str, list[ast.Call]] = {}
    for node in nodes:
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)) and node.value:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).extend(calls(node.value))
    return found


def _calls_of(test: ast.expr, bound: dict[str, list[ast.Call]]) -> Iterator[ast.Call]:
    yield from calls(test)
    for node in ast.walk(test):
        if isinstance(node, ast.Name):
            yield from bound.get(node.id, ())


Branch = tuple[ast.expr, "list[ast.stmt] | ast.expr", "list[ast.stmt] | ast.expr"]
"""A condition, and the code for a true and for a false one."""


def _branches(nodes: Sequence[ast.AST]) -> Iterator[Branch]:
    rest = _rests(nodes)
    for node in nodes:
        if isinstance(node, ast.If):
            is_left = isinstance(node.body[-1], _LEAVING)
            yield node.test, node.body, node.orelse or (rest.get(node, []) if is_left else [])
        elif isinstance(node, ast.IfExp):
            yield node.test, node.body, node.orelse
        elif isinstance(node, ast.Match):
            for case, after in pairwise(node.cases):
                if case.guard and _is_otherwise(after, case):
                    yield case.guard, case.body, after.body
        elif isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            chosen = node.values[0]  # The old way to write IfExp.
            if isinstance(chosen, ast.BoolOp) and isinstance(chosen.op, ast.And):
                yield chosen.values[0], chosen.values[-1], node.values[-1]
        elif isinstance(node, ast.Subscript):
            yield from _picked(node)


def _is_otherwise(case: ast.match_case, before: ast.match_case) -> bool:
    """Whether a case takes all that the guard of the case before it does not take."""
    pattern = case.pattern
    is_all = isinstance(pattern, ast.MatchAs) and pattern.pattern is None
    return case.guard is None and (is_all or ast.dump(pattern) == ast.dump(before.pattern))


def _picked(node: ast.Subscript) -> Iterator[Branch]:
    """A value that is picked by a condition: `("refused", "shipped")[paid]`."""
    picked: dict[object, ast.expr] = {}
    if isinstance(node.value, (ast.Tuple, ast.List)) and len(node.value.elts) == 2:
        picked = dict(zip((False, True), node.value.elts, strict=True))
    elif isinstance(node.value, ast.Dict):
        keys = [getattr(key, "value", None) for key in node.value.keys]
        picked = dict(zip(keys, node.value.values, strict=True))
    if {True, False} <= picked.keys():
        yield node.slice, picked[True], picked[False]


def _rests(nodes: Sequence[ast.AST]) -> dict[ast.AST, list[ast.stmt]]:
    """By statement: all that comes after it in its block."""
    found: dict[ast.AST, list[ast.stmt]] = {}
    for node in nodes:
        for _, block in ast.iter_fields(node):
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                found |= {one: block[place:] for place, one in enumerate(block, 1)}
    return found


def _form(yes: list[ast.stmt] | ast.expr, no: list[ast.stmt] | ast.expr) -> str:
    """`filter`, `choice`, or empty."""
    if _refuses(no) and not _refuses(yes):
        return "filter"
    one, other = _result(yes), _result(no)
    if one is None or other is None or one[0] != other[0]:
        return ""
    first, second = one[1], other[1]
    if _is_constant(first) and _is_constant(second) and not _is_empty(second):
        return "" if ast.dump(first) == ast.dump(second) else "choice"
    return ""


def _refuses(block: list[ast.stmt] | ast.expr) -> bool:
    """Whether code ends with an exception, and cannot end otherwise."""
    if not isinstance(block, list) or not block or not isinstance(block[-1], ast.Raise):
        return False
    inner = (node for statement in block[:-1] for node in ast.walk(statement))
    return not any(isinstance(node, _LEAVING) for node in inner)


def _result(block: list[ast.stmt] | ast.expr) -> tuple[str, ast.expr] | None:
    """Where the only result of some code goes, and what it is."""
    if isinstance(block, ast.expr):
        return "", block
    if len(block) != 1:
        return None
    (statement,) = block
    if isinstance(statement, ast.Return):
        return "return", statement.value or ast.Constant(None)
    if isinstance(statement, ast.Assign):
        return ast.unparse(statement.targets[0]), statement.value
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Yield):
        return "yield", statement.value.value or ast.Constant(None)
    return None


def _is_empty(value: ast.expr) -> bool:
    """Whether a result says that there is nothing: no fault, for example."""
    if isinstance(value, ast.Constant):
        return not value.value and not isinstance(value.value, bool)
    return isinstance(value, (ast.List, ast.Tuple, ast.Set)) and not value.elts


def _is_constant(value: ast.expr) -> bool:
    """Whether a result is a constant, by its form or its name, and not just a yes or no."""
    if isinstance(value, ast.Constant):
        return not isinstance(value.value, bool)
    if isinstance(value, ast.Attribute):
        owner = ast.unparse(value.value).rpartition(".")[2]
        return value.attr.isupper() or owner[:1].isupper()
    return isinstance(value, ast.JoinedStr) or (isinstance(value, ast.Name) and value.id.isupper())
