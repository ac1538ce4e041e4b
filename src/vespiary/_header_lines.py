"""Header fields that a program gives: one check for all the options that take them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping

from vespiary.errors import ConfigurationError

__all__ = ["HeaderFields", "HeaderMaker", "check_maker", "header_lines", "made_lines"]

HeaderFields = Mapping[str, str] | Iterable[tuple[str, str]]
"""Header fields: a mapping from names to values, or pairs where a name may come more than once."""

HeaderMaker = Callable[[], HeaderFields | Awaitable[HeaderFields]]
"""A function, plain or async, that makes the fields of one handshake."""


def header_lines(fields: HeaderFields, option: str = "headers") -> tuple[tuple[str, str], ...]:
    """The fields as pairs, in their order.

    Raises:
        ConfigurationError: they are neither a mapping nor pairs, or a name or value is not a `str`.
    """
    given: object = fields
    if isinstance(given, Mapping):
        given = given.items()
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise _wrong(option, fields, "a mapping or a list of pairs (name, value)")
    lines = []
    for line in given:
        # A str of two letters would also unpack to two strings: only tuples and lists are pairs.
        if not isinstance(line, tuple | list) or [type(part) for part in line] != [str, str]:
            raise _wrong(option, line, "pairs (name, value) of str")
        lines.append((line[0], line[1]))
    return tuple(lines)


def check_maker(maker: HeaderMaker) -> None:
    """Check that a function that makes fields can be called, as far as its signature says.

    Raises:
        ConfigurationError: it needs arguments.
    """
    try:
        signature = inspect.signature(maker)
    except (TypeError, ValueError):
        return  # Some of those written in C have none.
    try:
        signature.bind()
    except TypeError:
        raise _wrong("headers", maker, "a function without arguments") from None


async def made_lines(maker: HeaderMaker) -> tuple[tuple[str, str], ...]:
    """What a function makes, as pairs.

    Raises:
        ConfigurationError: as for `header_lines`.
        Exception: what the function raises.
    """
    made = maker()
    if inspect.isawaitable(made):
        made = await made
    return header_lines(made)


def _wrong(option: str, value: object, wanted: str) -> ConfigurationError:
    return ConfigurationError(
        f"{option} takes {wanted}; got {value!r}",
        subject=option.rpartition(".")[2],
        value=value,
    )
