"""Findings in the forms that other programs read: JUnit, SARIF and annotations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from vespiary.prove.junit import written
from vespiary.prove.locks.findings import Finding
from vespiary.prove.locks.outcome import Coverage
from vespiary.prove.locks.places import Frame
from vespiary.prove.locks.rendering import finding_text

__all__ = ["as_annotations", "as_junit", "as_sarif"]

_RULES = {
    "inversion": "Locks are taken in orders that can deadlock",
    "deadlock": "Threads wait for each other",
    "misuse": "A lock is used against its rules",
    "stall": "A thread waits longer than expected",
    "information": "Worth knowing",
}


_NOTHING = "no lock operation was seen: nothing was covered"


def _place(finding: Finding) -> Frame | None:
    """The innermost place of the finding of which a source line is known."""
    for step in finding.steps:
        for frame in step.wanted_at:
            if frame.file is not None and frame.line:
                return frame
    return None


def as_junit(findings: Sequence[Finding], command: Sequence[str], coverage: Coverage) -> str:
    """A JUnit report: a test case a finding, or one that passed where there is none.

    A run that covered nothing has one that neither passed nor failed: an error.
    """
    is_covered = coverage.operations > 0
    suite = ElementTree.Element(
        "testsuite",
        name="vespiary locks",
        tests=str(max(1, len(findings))),
        failures=str(sum(finding.fails for finding in findings)),
        errors=str(int(not findings and not is_covered)),
    )
    name = " ".join(command)
    if not findings:
        case = ElementTree.SubElement(suite, "testcase", classname="locks", name=name)
        if not is_covered:
            ElementTree.SubElement(case, "error", message=_NOTHING, type="coverage")
    for finding in findings:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"locks.{finding.kind}", name=finding.signature
        )
        if not finding.fails:
            ElementTree.SubElement(case, "system-out").text = finding_text(finding)
            continue
        failure = ElementTree.SubElement(case, "failure", message=finding.title, type=finding.kind)
        failure.text = finding_text(finding)
    if coverage.notes:
        notes = ElementTree.SubElement(suite, "system-out")
        notes.text = "\n".join(f"not covered: {note}" for note in coverage.notes)
    return written(suite)


def as_sarif(findings: Sequence[Finding], coverage: Coverage) -> dict[str, Any]:
    """A SARIF 2.1.0 log (OASIS Standard, 27 March 2020); what was not covered is notified."""
    notes = [("warning", f"not covered: {note}") for note in coverage.notes]
    if not coverage.operations:
        notes.insert(0, ("error", _NOTHING))
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "vespiary locks",
                        "rules": [
                            {"id": kind, "shortDescription": {"text": text}}
                            for kind, text in _RULES.items()
                        ],
                    }
                },
                "invocations": [
                    {
                        "executionSuccessful": coverage.operations > 0,
                        "toolExecutionNotifications": [
                            {"level": level, "message": {"text": text}} for level, text in notes
                        ],
                    }
                ],
                "results": [_result(finding) for finding in findings],
            }
        ],
    }


def _result(finding: Finding) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.kind,
        "level": "error" if finding.fails else "warning" if finding.is_told else "note",
        "message": {"text": f"{finding.title}. What to change: {finding.advice}."},
        "partialFingerprints": {"vespiaryLocks/v1": finding.signature},
    }
    place = _place(finding)
    if place is not None:
        result["locations"] = [_location(place)]
    result["codeFlows"] = [
        {
            "threadFlows": [
                {
                    "id": step.thread,
                    "locations": [
                        {"location": _location(frame)}
                        for frame in (*step.taken_at[:1], *step.wanted_at)
                        if frame.file is not None and frame.line
                    ],
                }
                for step in finding.steps
            ]
        }
    ]
    return result


def _location(frame: Frame) -> dict[str, Any]:
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": frame.file},
            "region": {"startLine": frame.line},
        },
        "message": {"text": frame.function},
    }


def as_annotations(findings: Sequence[Finding], coverage: Coverage) -> str:
    """A line a finding, and one for each thing that was not covered.

    In the form of a forge's build log: `::error file=...,line=...::text`.
    """
    lines = []
    for finding in findings:
        level = "error" if finding.fails else "warning" if finding.is_told else "notice"
        place = _place(finding)
        where = f" file={place.file},line={place.line}" if place is not None else ""
        text = _escaped(f"{finding.title}. {finding.advice}")
        lines.append(f"::{level}{where}::{finding.kind} {finding.signature}: {text}")
    if not coverage.operations:
        lines.append(f"::error::{_NOTHING}")
    lines.extend(f"::notice::not covered: {_escaped(note)}" for note in coverage.notes)
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
