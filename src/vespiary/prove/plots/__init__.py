"""Plots in the reports of the tools: SVG with a cursor that shows the figures below it."""

from pathlib import Path
from typing import Final

from vespiary.prove.plots.plot import BYTES, PER_SECOND, SECONDS, Line, Unit, plot

__all__ = ["BYTES", "FOLDER", "PER_SECOND", "SECONDS", "Line", "Unit", "plot"]

FOLDER: Final = Path(__file__).parent
"""Where the style and the script of plots are."""
