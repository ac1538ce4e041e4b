"""TOML texts that other people wrote, and values as they write them."""

from __future__ import annotations

import datetime
import tomllib
from typing import Any

__all__ = ["as_toml", "loads"]

_DEPTH_MAX = 100
"""So deep may tables and lists be nested: what reads them is recursive."""


def loads(document: str) -> dict[str, Any]:
    """Read a TOML text.

    Raises:
        TOMLDecodeError: it is not TOML, or its values are nested too deeply to be read.
    """
    try:
        found = tomllib.loads(document)
    except RecursionError:
        found = None
    if found is None or not _is_shallow(found):
        raise tomllib.TOMLDecodeError("values are nested too deeply (at line 1, column 1)")
    return found


def _is_shallow(value: object) -> bool:
    level = [value]
    for _ in range(_DEPTH_MAX):
        tables = [inner for one in level if isinstance(one, dict) for inner in one.values()]
        level = tables + [inner for one in level if isinstance(one, list) for inner in one]
    return not level


def as_toml(value: object) -> str:
    """A value for an error, as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {as_toml(one)}" for key, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return repr(value)
