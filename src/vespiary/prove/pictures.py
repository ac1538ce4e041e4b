"""Pictures that the tools draw with matplotlib, an extra (`vespiary[plots]`)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Final

from vespiary.errors import ConfigurationError

__all__ = ["check_picture"]

_SUFFIXES: Final = (".png", ".svg", ".pdf")


def check_picture(path: Path) -> None:
    """Find out before a run of hours whether its picture can be drawn.

    Raises:
        ConfigurationError: The format is unknown, or matplotlib is missing.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise ConfigurationError(
            f"{path} has no suffix of a picture: use {', '.join(_SUFFIXES)}",
            subject="--plot",
            value=str(path),
        )
    try:
        importlib.import_module("matplotlib.figure")
    except ImportError:
        raise ConfigurationError(
            "--plot needs matplotlib: pip install 'vespiary[plots]'", subject="--plot"
        ) from None
