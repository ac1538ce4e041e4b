"""Findings in the forms that other programs read: JUnit, SARIF and annotations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from vespiary.prove.locks.findings import Finding
from vespiary.prove.locks.places import Frame
from vespiary.prove.locks.report import finding_text

__all__ = ["as_annotations", "as_junit", "as_sarif"]

_RULES = {
    "inversion": "Locks are taken in orders that can deadlock",
    "deadlock": "Threads wait for each other",
    "misuse": "A lock is used against its rules",
    "stall": "A thread waits longer than expected",
    "information": "Worth knowing",
}


def _place(finding: Finding) -> Frame | None:
    """The innermost place of the finding of which a source line is known."""
    for step in finding.steps:
        for frame in step.wanted_at:
            if frame.file is not None and frame.line:
                return frame
    return None


def as_junit(findings: Sequence[Finding], command: Sequence[str]) -> str:
    """A JUnit report: a test case a finding, or one that passed where there is none."""
    suite = ElementTree.Element(
        "testsuite",
        name="vespiary locks",
        tests=str(max(1, len(findings))),
        failures=str(len(findings)),
    )
    name = " ".join(command)
    if not findings:
        ElementTree.SubElement(suite, "testcase", classname="locks", name=name)
    for finding in findings:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"locks.{finding.kind}", name=finding.signature
        )
        failure = ElementTree.SubElement(case, "failure", message=finding.title, type=finding.kind)
        failure.text = finding_text(finding)
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode") + "\n"


def as_sarif(findings: Sequence[Finding]) -> dict[str, Any]:
    """A SARIF 2.1.0 log (OASIS Standard, 27 March 2020)."""
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
                "results": [_result(finding) for finding in findings],
            }
        ],
    }


def _result(finding: Finding) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.kind,
        "level": "error" if finding.is_told else "note",
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


def as_annotations(findings: Sequence[Finding]) -> str:
    """A line a finding, as a forge's build log takes them (`::error file=...,line=...::text`)."""
    lines = []
    for finding in findings:
        level = "error" if finding.is_told else "notice"
        place = _place(finding)
        where = f" file={place.file},line={place.line}" if place is not None else ""
        text = f"{finding.title}. {finding.advice}".replace("%", "%25").replace("\n", "%0A")
        lines.append(f"::{level}{where}::{finding.kind} {finding.signature}: {text}")
    return "\n".join(lines)
