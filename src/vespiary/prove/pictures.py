"""Pictures that the tools draw with matplotlib, an extra (`vespiary[plots]`)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vespiary.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check_picture", "save_picture"]

_SUFFIXES: Final = (".png", ".svg", ".pdf")
_DOTS_PER_INCH: Final = 120


def check_picture(path: Path) -> None:
    """Find out before a run of hours whether its picture can be drawn.

    Raises:
        ConfigurationError: The format is unknown, or matplotlib is missing.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise ConfigurationError(
            f"{path} does not name a picture: end it in {', '.join(_SUFFIXES)}",
            subject="--plot",
            value=str(path),
        )
    try:
        importlib.import_module("matplotlib.figure")
    except ImportError:
        raise ConfigurationError(
            "--plot needs matplotlib: pip install 'vespiary[plots]'", subject="--plot"
        ) from None


def save_picture(figure: Figure, path: Path) -> None:
    """Write what was drawn, in the format that the file's suffix names.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    try:
        figure.savefig(path, dpi=_DOTS_PER_INCH)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror}", subject="--plot", value=str(path)
        ) from None
