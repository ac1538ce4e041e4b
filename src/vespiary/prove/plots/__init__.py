"""Plots in the reports of the tools: SVG with a cursor that shows the figures below it."""

from pathlib import Path
from typing import Final

from vespiary.prove.plots.plot import (
    BYTES,
    COUNT,
    PER_SECOND,
    PERCENT,
    RUNS,
    SECONDS,
    TIME,
    Axis,
    Line,
    Unit,
    plot,
)

__all__ = [
    "BYTES",
    "COUNT",
    "FOLDER",
    "PERCENT",
    "PER_SECOND",
    "RUNS",
    "SECONDS",
    "TIME",
    "Axis",
    "Line",
    "Unit",
    "plot",
]

FOLDER: Final = Path(__file__).parent
"""Where the style and the script of plots are."""
