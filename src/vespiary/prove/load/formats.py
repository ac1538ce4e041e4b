"""A run as a JSON object, for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from vespiary._core import __version__
from vespiary.prove.load.expectations import Expectation
from vespiary.prove.load.plan import Plan
from vespiary.prove.load.report import Report

__all__ = ["as_json"]

VERSION: Final = 1


def as_json(
    plan: Plan, told: dict[str, Any], report: Report, expectations: Sequence[Expectation]
) -> dict[str, Any]:
    """The run as an object; docs/reference/load.md describes it.

    Args:
        plan: What was to be done.
        told: The native run's report.
        report: The same as values.
        expectations: What was expected.
    """
    return {
        "version": VERSION,
        "vespiary": __version__,
        "url": plan.url,
        "plan": asdict(plan),
        "errors": report.errors,
        "expectations": [
            {"text": each.text, "measured": each.measured(report), "met": each.is_met(report)}
            for each in expectations
        ],
        **told,
    }
