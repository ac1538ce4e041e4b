"""What a user who misspelt a name meant: for every name that Vespiary takes."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from vespiary.errors import ConfigurationError

__all__ = ["advice", "check_names", "checks_names"]

T = TypeVar("T")


_LIKENESS_MIN = 0.6
"""How alike a name must be to be suggested, from 0 to 1: a bad suggestion is worse than a list."""
_NO_OTHERS: Mapping[str, str] = {}


def advice(wrong: str, known: Iterable[str], others: Mapping[str, str] = _NO_OTHERS) -> str:
    """Return what to write: the nearest known name as a question, or else all of them.

    Args:
        wrong: The name that is not known.
        known: Those that are.
        others: What to write for names that mean something known by another name, or somewhere
            else; the nearest name may be one of them.
    """
    known = list(known)
    if wrong in others:
        return others[wrong]
    near = difflib.get_close_matches(wrong, {*known, *others}, n=1, cutoff=_LIKENESS_MIN)
    if not near:
        return f"there are {', '.join(known)}"
    question = f"did you mean {near[0]!r}?"
    return question if near[0] in known else f"{question} {_sentence(others[near[0]])}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def check_names(
    given: Iterable[str],
    known: Iterable[str],
    owner: str,
    error: type[ConfigurationError] = ConfigurationError,
    others: Mapping[str, str] = _NO_OTHERS,
) -> None:
    """Check the names of options; `others` as for `advice`.

    Raises:
        ConfigurationError: one is not known; the nearest known name is suggested.
    """
    known = list(known)
    for name in given:
        if name not in known:
            text = f"{owner} has no {name!r}: {advice(name, known, others)}"
            raise error(text, subject=name)


def checks_names(
    error: type[ConfigurationError] = ConfigurationError,
    others: Mapping[str, str] = _NO_OTHERS,
) -> Callable[[type[T]], type[T]]:
    """Let a dataclass answer an unknown field with a suggestion, instead of a TypeError.

    `others` as for `advice`.
    """

    def decorate(cls: type[T]) -> type[T]:
        make: Callable[..., None] = cls.__init__
        known = list(cls.__annotations__)

        @functools.wraps(make)
        def initialise(self: T, *values: Any, **named: Any) -> None:
            check_names(named, known, cls.__name__, error, others)
            make(self, *values, **named)

        cls.__init__ = initialise  # type: ignore[method-assign,assignment]
        return cls

    return decorate
