"""What the tools found, from their reports."""

from __future__ import annotations

import glob
import json
from pathlib import Path
from typing import Any

from vespiary.prove.acceptance.tools import Wrapping
from vespiary.prove.acceptance.work.context import Context
from vespiary.prove.acceptance.work.output import tail
from vespiary.prove.acceptance.work.program import exit_text
from vespiary.prove.exits import of_status
from vespiary.prove.memory import trend

__all__ = ["judge", "trend_from"]

_FILE_CHARACTERS_MAX = 6000
_LOCK_KINDS = ("inversion", "deadlock", "misuse", "stall")
_UNABLE = 2


def judge(
    context: Context,
    wrapping: Wrapping,
    label: str,
    code: int,
    output: str,
    ready_seconds: float = 0.0,
) -> int | None:
    """Put down what a tool found.

    Args:
        context: The case.
        wrapping: The tool.
        label: The program's name in the case.
        code: The tool's exit code.
        output: What the tool and the program have written last.
        ready_seconds: How long after its start the program was ready. Memory that it takes until
            then is not growth.

    Returns: The program's own exit code; None where the tool's is in its place.
    """
    reports = {"locks": _locks, "locks-full": _locks, "memory": _memory, "timewait": _timewait}
    read = reports.get(wrapping.tool)
    if read is not None:
        name = wrapping.tool.partition("-")[0]
        path = context.artifacts / f"{label}-{name}.json"
        report = _report(path)
        if report is None:
            text = f"{label}: vespiary {name} left no report, and ended with {exit_text(code)}"
            if code != 137:  # Killed with the program: that is reported by itself.
                context.result.add("not-run", text, tail(output))
            return None
        if wrapping.tool == "memory" and report["trend"] == "grows":
            _judge_again(report, ready_seconds)
        return read(context, label, report, code, output)
    found = _files(context, wrapping.findings)
    if code in wrapping.exits or found:
        what = f"ended with {code}" if code in wrapping.exits else "wrote findings"
        text = f"{label}: {wrapping.tool} {what}"
        detail = found or _files(context, wrapping.details) or tail(output)
        context.result.add("tool", text, detail)
        return None
    return code


def _report(path: Path) -> dict[str, Any] | None:
    try:
        report: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return report


def _files(context: Context, pattern: str | None) -> str:
    """The text of files that a tool has written."""
    if pattern is None:
        return ""
    paths = sorted(glob.glob(context.text(pattern)))  # noqa: PTH207
    texts = [Path(path).read_text(errors="replace")[:_FILE_CHARACTERS_MAX] for path in paths]
    return "\n".join(text for text in texts if text.strip())


def _locks(
    context: Context, label: str, report: dict[str, Any], code: int, output: str
) -> int | None:
    """The findings of `vespiary locks`."""
    is_found = False
    for finding in report["findings"]:
        if finding["kind"] in _LOCK_KINDS:
            is_found = True
            detail = f"{_told(output)}\nWhat to change: {finding['advice']}"
            text = f"{label}: {finding['title']} ({finding['signature']})"
            context.result.add(finding["kind"], text, detail)
    if not report["coverage"]["operations"]:
        text = f"{label}: vespiary locks saw no lock operation"
        context.result.add("not-covered", text, "\n".join(report["coverage"]["notes"]))
    return None if is_found and code in range(120, 125) else of_status(report["status"])


def _told(output: str) -> str:
    """The tool's report at the end of an output."""
    lines = output.splitlines()
    starts = [
        number
        for number, line in enumerate(lines)
        if line.startswith(tuple(kind.upper() for kind in _LOCK_KINDS))
    ]
    return "\n".join(lines[starts[0] :]) if starts else tail(output)


def _judge_again(report: dict[str, Any], seconds: float) -> None:
    """Replace the report's trend and slopes by those from this time of the run on."""
    found = trend_from(report, seconds)
    report["trend"] = found.verdict
    if found.per_second is not None:
        report["slope_bytes_per_second"] = found.per_second.estimate
        report["slope_bytes_per_unit"] = found.per_unit and found.per_unit.estimate


def trend_from(report: dict[str, Any], seconds: float) -> trend.Trend:
    """Whether memory grows from this time of a run on."""
    samples = [each for each in report["samples"] if each["seconds"] >= seconds]
    lives = [(each["began_seconds"], each["ended_seconds"]) for each in report["processes"]]
    return trend.judge(
        [each["seconds"] for each in samples],
        [each["private_bytes"] + each["shared_bytes"] for each in samples],
        [each["units"] for each in samples],
        trend.at_once(lives),
    )


def _memory(
    context: Context, label: str, report: dict[str, Any], code: int, output: str
) -> int | None:
    """The findings of `vespiary memory`."""
    del code
    case, result = context.plan.case, context.result
    _, begins, rest = output.rpartition("vespiary memory: ")
    told = begins + rest if begins else tail(output)
    if report["outcome"] == "limit":
        result.add("memory-limit", f"{label}: used more than {report['limit_bytes']} bytes", told)
        return None
    for each in report["expectations"]:
        if each["result"] in ("above", "not judged"):
            result.add("memory-expectation", f"{label}: {each['text']}", told)
    is_slope_expected = any(each["what"] == "slope" for each in report["expectations"])
    # A program that does its work and ends has no steady state in which growth would be a leak.
    may_grow = case.may_grow or case.server is None or is_slope_expected
    if report["trend"] == "grows" and not may_grow:
        per_unit = report["slope_bytes_per_unit"]
        per = f"{report['slope_bytes_per_second']:,.0f} bytes per second"
        if per_unit is not None:
            per = f"{per_unit:,.0f} bytes per unit of work, {per}"
        result.add("memory-growth", f"{label}: memory grows by {per}", told)
    if report["left_behind"] and len(report["left_behind"]) > case.checks.left_behind:
        names = ", ".join(f"{each['pid']} ({each['name']})" for each in report["left_behind"])
        result.add("left-behind", f"{label}: outlived by {names}, which were ended")
    exit_code: int | None = report["program_exit_code"]
    return 128 + report["program_signal"] if exit_code is None else exit_code


def _timewait(
    context: Context, label: str, report: dict[str, Any], code: int, output: str
) -> int | None:
    """The alarms of `vespiary timewait`."""
    for alarm in report["alarms"]:
        context.result.add("alarm", f"{label}: {alarm['alarm']}: {alarm['text']}", tail(output))
    if code == _UNABLE and not report["alarms"]:
        context.result.add("not-run", f"{label}: vespiary timewait could not run", tail(output))
        return None
    return None if report["alarms"] else code
