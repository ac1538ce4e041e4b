"""The values of a suite file that have a form of their own: times, sizes, commands, comparisons.

Each is a plain Python type, so that a case can be sent to a machine where only Python is. pydantic,
which reads suite files, finds how to validate it through `__get_pydantic_core_schema__`.
"""

from __future__ import annotations

import operator
import re
import shlex
import signal
from collections.abc import Callable, Iterable
from typing import Any, Final

from vespiary.prove.quantities import parse_seconds, parse_size

__all__ = ["Comparison", "ExitCode", "Pattern", "Seconds", "SignalName", "Size", "Words"]


class _Validated:
    """A value that is made from what the file has by its `parse`."""

    @classmethod
    def parse(cls, value: object) -> Any:
        """The value; ValueError says what was expected."""
        raise NotImplementedError

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        del source, handler
        return core_schema.no_info_plain_validator_function(cls.parse)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class Seconds(_Validated, float):
    """A time above zero, written as a number of seconds or as a text such as `500ms` or `2min`."""

    @classmethod
    def parse(cls, value: object) -> Seconds:
        """The time."""
        expected = "expected a time above zero, such as 5, '500ms' or '2min'"
        if not _is_number(value) and not isinstance(value, str):
            raise ValueError(expected)
        try:
            seconds = parse_seconds(str(value))
        except ValueError:
            raise ValueError(expected) from None
        if seconds <= 0:
            raise ValueError(expected)
        return cls(seconds)


class Size(_Validated, int):
    """A number of bytes above zero, or a text such as `200M` or `1.5GiB`."""

    @classmethod
    def parse(cls, value: object) -> Size:
        """The size."""
        expected = "expected a size above zero, such as '200M' or '1.5GiB'"
        if not _is_number(value) and not isinstance(value, str):
            raise ValueError(expected)
        try:
            size = parse_size(str(value))
        except ValueError:
            raise ValueError(expected) from None
        if size <= 0:
            raise ValueError(expected)
        return cls(size)


class Words(_Validated, tuple[str, ...]):
    """A command: a list of words, or one text that is split as a shell does."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Words:
        """The command."""
        expected = (
            "expected a command: a list of words such as ['python', 'server.py'], or a string"
        )
        if isinstance(value, str):
            try:
                words = shlex.split(value)
            except ValueError as error:
                raise ValueError(f"{expected} ({error})") from None
        elif isinstance(value, list) and all(isinstance(word, str) for word in value):
            words = value
        else:
            raise ValueError(expected)
        if not words:
            raise ValueError(expected)
        return cls(words)


class Pattern(_Validated, str):
    """A regular expression that is searched for; `^` and `$` match at lines."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Pattern:
        """The expression."""
        if not isinstance(value, str):
            raise ValueError("expected a string: a regular expression")
        try:
            re.compile(value, re.MULTILINE)
        except re.error as error:
            raise ValueError(
                f"expected a regular expression, and this is not valid: {error}"
            ) from None
        return cls(value)

    def finds(self, text: str) -> re.Match[str] | None:
        """Where the expression matches first."""
        return re.search(self, text, re.MULTILINE)


class SignalName(_Validated, str):
    """A signal by name, such as `SIGTERM`."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> SignalName:
        """The signal."""
        if not isinstance(value, str) or value not in signal.Signals.__members__:
            raise ValueError("expected the name of a signal, such as 'SIGTERM' or 'SIGINT'")
        return cls(value)

    @property
    def number(self) -> int:
        """The signal's number."""
        return signal.Signals[self]


class ExitCode(_Validated, int):
    """How a program ends: an exit code, or the name of a signal, which counts as 128 + number."""

    @classmethod
    def parse(cls, value: object) -> ExitCode:
        """The code."""
        if isinstance(value, str) and value in signal.Signals.__members__:
            return cls(128 + signal.Signals[value])
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255:
            return cls(value)
        raise ValueError("expected an exit code from 0 to 255, or a signal such as 'SIGTERM'")


_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


class Comparison(_Validated, str):
    """What a number must satisfy, such as `>= 100` or `== 0`."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Comparison:
        """The comparison; a bare number stands for equality."""
        if _is_number(value):
            return cls(f"== {value}")
        if isinstance(value, str) and _split(value) is not None:
            return cls(value)
        raise ValueError("expected a comparison with a number, such as '>= 100' or '== 0'")

    def holds(self, number: float) -> bool:
        """Whether a number satisfies it."""
        parts = _split(self)
        assert parts is not None
        return _OPERATORS[parts[0]](number, parts[1])


def _split(text: str) -> tuple[str, float] | None:
    match = re.fullmatch(r"\s*(==|!=|>=|<=|>|<)\s*(-?\d+(?:\.\d+)?)\s*", text)
    return None if match is None else (match[1], float(match[2]))


def joined(names: Iterable[object]) -> str:
    """Names as a list for a sentence."""
    return ", ".join(map(str, names))
