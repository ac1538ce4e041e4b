"""Header fields that a program gives: one check for all the options that take them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vespiary.errors import ConfigurationError

__all__ = ["HeaderFields", "header_lines"]

HeaderFields = Mapping[str, str] | Iterable[tuple[str, str]]
"""Header fields: a mapping from names to values, or pairs where a name may come more than once."""


def header_lines(fields: HeaderFields, option: str = "headers") -> tuple[tuple[str, str], ...]:
    """The fields as pairs, in their order.

    Raises:
        ConfigurationError: they are neither a mapping nor pairs, or a name or value is not a `str`.
    """
    if isinstance(fields, str | bytes):
        raise _wrong(option, fields, "a mapping or a list of pairs (name, value)")
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    try:
        lines = tuple(pairs)
    except TypeError:
        raise _wrong(option, fields, "a mapping or a list of pairs (name, value)") from None
    for line in lines:
        # A text of two letters is a sequence of two texts.
        is_pair = isinstance(line, tuple | list) and len(line) == 2
        if not is_pair or not all(isinstance(part, str) for part in line):
            raise _wrong(option, line, "pairs (name, value) of str")
    return tuple((name, value) for name, value in lines)


def _wrong(option: str, value: object, wanted: str) -> ConfigurationError:
    return ConfigurationError(
        f"{option} takes {wanted}; got {value!r}", subject=option, value=value
    )
