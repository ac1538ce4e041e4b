"""Whether the connections of a handler class keep their request.

A request needs some hundred bytes per connection. It is not kept if the class never reads
`connection.request` after `on_open`. This is seen from the code of its methods: whether one of them
uses an attribute named `request`. Decorators and descriptors hide code, so the functions inside
them are examined. A callable whose code cannot be found counts as one that reads the request.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Iterator
from typing import Any, Generic

from vespiary.handler import Handler

__all__ = ["keeps_request"]

_NAME = "request"
_SEEN_THROUGH = (staticmethod, classmethod, functools.partial, types.MethodType)
_BUILT_IN = (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)


def keeps_request(kind: type[Handler]) -> bool:
    """Whether connections keep their request: where the class says so, or its code names it."""
    asked = kind.keep_request
    if asked is not None:
        return asked
    known: set[int] = set()
    bases = [base for base in kind.__mro__ if base not in (Handler, Generic, object)]
    waiting = [value for base in bases for value in _members(base)]
    while waiting:
        value = waiting.pop()
        if id(value) in known:
            continue
        known.add(id(value))
        if _reads(value) if inspect.isfunction(value) else _is_opaque(value):
            return True
        waiting += _behind(value)
    return False


def _is_opaque(value: object) -> bool:
    """Whether it can be called, and its code cannot be looked at."""
    is_known = isinstance(value, (type, *_BUILT_IN, *_SEEN_THROUGH))
    return callable(value) and not is_known and not hasattr(value, "__wrapped__")


def _members(kind: type) -> Iterator[Any]:
    """What a class defines, with the classes that are defined within it."""
    for value in vars(kind).values():
        if not isinstance(value, type):
            yield value
        elif value.__qualname__.startswith(f"{kind.__qualname__}."):
            yield from _members(value)


def _behind(value: object) -> Iterator[Any]:
    """What a decorator or a descriptor hides."""
    if inspect.isfunction(value):
        for cell in value.__closure__ or ():
            try:
                inside = cell.cell_contents
            except ValueError:  # Nothing was assigned to it yet.
                continue
            if inspect.isroutine(inside) or isinstance(inside, _SEEN_THROUGH):
                yield inside
    elif isinstance(value, (staticmethod, classmethod)):
        yield value.__func__
    elif isinstance(value, property):
        yield from (value.fget, value.fset, value.fdel)
    elif isinstance(value, (functools.partial, functools.partialmethod, functools.cached_property)):
        yield value.func
    elif inspect.ismethod(value):
        yield value.__func__
    elif hasattr(value, "__wrapped__"):
        yield value.__wrapped__


def _reads(function: Any) -> bool:
    """Whether the code of a function, or of one that is defined within it, names the attribute."""
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        if _NAME in code.co_names:
            return True
        codes += [constant for constant in code.co_consts if inspect.iscode(constant)]
    return False
