"""A run as a JSON object, for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from vespiary._core import __version__
from vespiary._credentials import bare_url
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
        "url": bare_url(plan.url),
        "plan": _plan(plan),
        "errors": report.errors,
        "expectations": [
            {"text": each.text, "measured": each.measured(report), "met": each.is_met(report)}
            for each in expectations
        ],
        **told,
    }


def _plan(plan: Plan) -> dict[str, Any]:
    """The plan without what may be secret, and without the messages themselves."""
    told = asdict(plan)
    told["url"] = bare_url(plan.url)
    told["further_urls"] = [bare_url(url) for url in plan.further_urls]
    told["headers"] = [name for name, _ in plan.headers]
    told["data"] = len(plan.data)
    for name in ("ca", "certificate", "key"):
        told[name] = None if told[name] is None else str(told[name])
    return told
