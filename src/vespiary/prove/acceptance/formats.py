"""A run in the forms that other programs read: JSON and JUnit."""

from __future__ import annotations

import json
from xml.etree import ElementTree

from vespiary._core import __version__
from vespiary.prove.acceptance.history import History
from vespiary.prove.acceptance.outcome import ERROR, FAILED, PASSED
from vespiary.prove.acceptance.run import Run
from vespiary.prove.junit import written

__all__ = ["SCHEMA", "as_json", "as_junit"]

SCHEMA = 1


def as_json(run: Run, history: History) -> str:
    """The run as an object; docs/reference/prove.md describes it."""
    outcomes = [result.outcome for result in run.results]
    data = {
        "schema": SCHEMA,
        "vespiary": __version__,
        "suite": run.suite,
        "file": str(run.file),
        "seed": run.seed,
        "began": run.began,
        "seconds": run.seconds,
        "lost_hosts": run.lost,
        "interrupted": run.is_interrupted,
        "totals": {name: outcomes.count(name) for name in (PASSED, FAILED, ERROR)},
        "cells": [
            {**result.as_json(), "flaky": history.is_flaky(result.id)} for result in run.results
        ],
    }
    return json.dumps(data, indent=1) + "\n"


def as_junit(run: Run) -> str:
    """The run as JUnit XML: a test case per cell."""
    failures = sum(result.outcome == FAILED for result in run.results)
    errors = sum(result.outcome == ERROR for result in run.results)
    suite = ElementTree.Element(
        "testsuite",
        name=run.suite,
        tests=str(len(run.results)),
        failures=str(failures),
        errors=str(errors),
        time=f"{run.seconds:.3f}",
    )
    for result in run.results:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"{run.suite}.{result.case}",
            name=result.id,
            time=f"{result.seconds:.3f}",
        )
        tag = "error" if result.outcome == ERROR else "failure"
        for finding in result.findings:
            element = ElementTree.SubElement(case, tag, message=finding.text, type=finding.kind)
            element.text = finding.detail
        if result.findings:
            output = ElementTree.SubElement(case, "system-out")
            output.text = "\n".join(f"== {name}\n{text}" for name, text in result.logs.items())
    return written(suite)
