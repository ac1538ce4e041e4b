"""Another result of a function's own type: whether a test looks at more than the type.

The type is that of the function's annotation. Without one it is that of the last result in this
process, if that is a type of Python's own. A class of the project says something by itself where a
function may give one of several; then there is no other result of the same kind.
"""

import types
import typing
from collections.abc import Callable
from typing import Any

__all__ = ["Replaced", "Results"]

_TEXT = "<a result that vespiary trace has replaced>"


class Replaced:
    """What a function gives that no caller can have expected: it is equal to itself only."""

    def __bool__(self) -> bool:
        """It is false."""
        return False

    def __repr__(self) -> str:
        """Say where it is from."""
        return _TEXT


_OTHERS: dict[type, Callable[[], object]] = {
    str: lambda: _TEXT,
    bytes: _TEXT.encode,
    bytearray: lambda: bytearray(_TEXT.encode()),
    int: lambda: -0x7ACE,
    float: lambda: -float(0x7ACE),
    complex: lambda: complex(-0x7ACE),
    list: lambda: [Replaced()],
    tuple: lambda: (Replaced(),),
    set: lambda: {Replaced()},
    frozenset: lambda: frozenset({Replaced()}),
    dict: lambda: {Replaced(): Replaced()},
}
"""By type: an unlikely value of it."""

_FILLED = (bytearray, list, set, dict)
"""Those of them that get their value after they are made."""


class Results:
    """What a function gives."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._last: type | None = None
        self._answer = False

    def keep(self, result: object) -> object:
        """Note the kind of a result, and give it back."""
        self._last = type(result)
        if isinstance(result, bool):
            self._answer = result
        return result

    def another(self) -> object:
        """A result of the same type that the function does not give, if there is one."""
        kind = self._kind()
        if kind is bool and self._last is bool:
            return not self._answer
        try:
            return Replaced() if kind in (None, bool) else _made(kind)
        except TypeError:  # It is made by more than Python's own means.
            return Replaced()

    def _kind(self) -> Any:
        """The only type of the function's results; None if that is not known."""
        told = _annotation(self._function)
        if told is None:
            return self._last if self._last in (*_OTHERS, bool) else None
        return told if self._last in (None, told) else None


def _made(kind: type) -> object:
    """An unlikely value of a type; of a class of the project, an object without attributes."""
    base: Any = next((one for one in _OTHERS if issubclass(kind, one)), None)
    if base is None:
        return object.__new__(kind)
    value = _OTHERS[base]()
    if base is tuple and (fields := getattr(kind, "_fields", None)):
        value = [Replaced() for _ in fields]
    if base not in _FILLED:
        return base.__new__(kind, value)
    made = base.__new__(kind)
    base.__init__(made, value)
    return made


def _annotation(function: Callable[..., Any]) -> Any:
    """The class of a function's annotation: None without one, `Replaced` if it allows several."""
    try:
        told = typing.get_type_hints(function).get("return")
    except Exception:  # Whatever the names in an annotation do.
        return None
    told = typing.get_origin(told) or told
    if typing.is_typeddict(told):
        return dict
    if told in (None, typing.Any, object):
        return None
    return told if isinstance(told, type) and told is not types.UnionType else Replaced
