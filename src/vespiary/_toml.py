"""TOML texts that other people wrote."""

from __future__ import annotations

import tomllib
from typing import Any

__all__ = ["loads"]


def loads(document: str) -> dict[str, Any]:
    """Read a TOML text.

    Raises:
        TOMLDecodeError: it is not TOML, or its values are nested too deeply to be read.
    """
    try:
        return tomllib.loads(document)
    except RecursionError:
        raise tomllib.TOMLDecodeError(
            "values are nested too deeply (at line 1, column 1)"
        ) from None
