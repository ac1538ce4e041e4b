"""The variable to which a new lock is assigned, from the line of Python that creates it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from vespiary.prove.locks import sources
from vespiary.prove.locks.places import Frame

__all__ = ["assigned"]

_MAKERS = {
    "allocate_lock",
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "JoinableQueue",
    "LifoQueue",
    "Lock",
    "PriorityQueue",
    "Queue",
    "RLock",
    "Semaphore",
    "SimpleQueue",
}
"""What makes locks in `threading`, `queue`, `multiprocessing` and `asyncio`."""


def assigned(frame: Frame) -> str | None:
    """The variable, attribute, argument or item that gets the lock which a line makes.

    None where the line makes none, or several for different ones.
    """
    if not frame.line:
        return None
    found = _calls(sources.text(frame)).get(frame.line, [])
    makers = {name for name, callee in found if callee in _MAKERS}
    names = makers or ({name for name, _ in found} if len(found) == 1 else set())
    return names.pop() if len(names) == 1 else None


@lru_cache(maxsize=64)
def _calls(text: str) -> dict[int, list[tuple[str, str]]]:
    """For each line of a module the calls whose results go somewhere: where, and the callee."""
    found: dict[int, list[tuple[str, str]]] = {}
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return found
    for node in ast.walk(tree):
        pairs: list[tuple[ast.expr, ast.expr | None]] = []
        if isinstance(node, ast.Assign):
            pairs = [(node.targets[-1], node.value)]
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
            pairs = [(node.target, node.value)]
        for target, value in pairs:
            if value is not None:
                for name, call in _results(target, value):
                    for line in range(call.lineno, (call.end_lineno or call.lineno) + 1):
                        found.setdefault(line, []).append((name, _callee(call)))
    return found


def _results(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.Call]]:
    if (
        isinstance(target, ast.Tuple | ast.List)
        and isinstance(value, ast.Tuple | ast.List)
        and len(target.elts) == len(value.elts)
    ):
        for part, of_part in zip(target.elts, value.elts, strict=True):
            yield from _results(part, of_part)
        return
    yield from _within(ast.unparse(target), value)


def _within(name: str, value: ast.expr) -> Iterator[tuple[str, ast.Call]]:
    """The calls in an expression, each with what its result is called."""
    if isinstance(value, ast.Call):
        yield name, value
        for argument in value.args:
            yield from _within(name, argument)
        for keyword in value.keywords:
            yield from _within(f"{name}.{keyword.arg or '**'}", keyword.value)
    elif isinstance(value, ast.Dict):
        for key, item in zip(value.keys, value.values, strict=True):
            yield from _within(f"{name}[{ast.unparse(key)}]" if key else name, item)
    else:
        for child in ast.iter_child_nodes(value):
            if isinstance(child, ast.expr):
                yield from _within(name, child)


def _callee(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
