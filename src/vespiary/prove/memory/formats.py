"""A run in the forms that other programs read: JSON and JUnit."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from vespiary.prove.junit import written
from vespiary.prove.memory.outcome import Outcome
from vespiary.prove.memory.processes import Memory
from vespiary.prove.memory.record import ProcessRecord
from vespiary.prove.memory.report import as_text
from vespiary.prove.memory.trend import CONFIDENCE, Slope

__all__ = ["as_json", "as_junit"]

VERSION = 1


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The run as an object; docs/reference/memory.md describes it."""
    measured, trend = outcome.measured, outcome.trend
    record, status = measured.record, measured.status
    return {
        "version": VERSION,
        "name": outcome.name,
        "command": list(measured.command),
        "outcome": outcome.result,
        "exit_code": outcome.exit_code,
        "program_exit_code": status if status >= 0 else None,
        "program_signal": -status if status < 0 else None,
        "seconds": measured.seconds,
        "method": measured.method,
        "methods_refused": measured.refusals,
        "limit_bytes": measured.limit,
        "peak_bytes": record.peak,
        "peak_seconds": record.peak_seconds,
        "exceeded": _exceeded(outcome),
        "trend": trend.verdict,
        "trend_reason": trend.reason,
        "warm_up_seconds": trend.warm_up_seconds,
        "confidence": CONFIDENCE,
        "slope_bytes_per_second": _estimate(trend.per_second),
        "slope_bytes_per_second_interval": _interval(trend.per_second),
        "slope_bytes_per_unit": _estimate(trend.per_unit),
        "slope_bytes_per_unit_interval": _interval(trend.per_unit),
        "units": record.samples[-1].work if measured.is_work_reported and record.samples else None,
        "expectations": [
            {"what": each.what, "result": each.result, "text": each.text}
            for each in outcome.comparisons
        ],
        "left_behind": [{"pid": each.pid, "name": each.name} for each in measured.left_behind],
        "samples": [
            {"seconds": at, **_memory(memory), "kernel_bytes": kernel, "units": work}
            for at, memory, kernel, work in record.samples
        ],
        "processes": [_process(each) for each in record.processes],
        "processes_omitted": record.processes_omitted,
        "kernel": [
            {"seconds": at, "memory_stat": stat, "pressure_percent": pressure}
            for at, stat, pressure in record.kernel
        ],
        "details": measured.details,
        "allocations": outcome.allocations,
    }


def _exceeded(outcome: Outcome) -> dict[str, Any] | None:
    exceeded = outcome.measured.exceeded
    if exceeded is None:
        return None
    return {
        "seconds": exceeded.seconds,
        "ending_seconds": exceeded.ending_seconds,
        "looked_seconds": exceeded.looked_seconds,
        "biggest": [
            {"pid": each.pid, "name": each.name, "command": each.command, **_memory(each.last)}
            for each in exceeded.biggest
        ],
    }


def _estimate(slope: Slope | None) -> float | None:
    return None if slope is None else slope.estimate


def _interval(slope: Slope | None) -> list[float] | None:
    return None if slope is None else [slope.low, slope.high]


def _memory(memory: Memory) -> dict[str, int]:
    return {
        "private_bytes": memory.private,
        "shared_bytes": memory.shared,
        "cache_bytes": memory.cache,
    }


def _process(each: ProcessRecord) -> dict[str, Any]:
    return {
        "pid": each.pid,
        "name": each.name,
        "command": each.command,
        "began_seconds": each.began,
        "ended_seconds": each.ended,
        "peak_bytes": each.peak.used,
        "samples": [{"seconds": at, **_memory(memory)} for at, memory in each.samples.items],
    }


def as_junit(outcome: Outcome) -> str:
    """A JUnit report with one test case."""
    result = outcome.result
    is_error = result == "not-judged"
    is_failure = not is_error and result != "passed"
    suite = ElementTree.Element(
        "testsuite",
        name="vespiary memory",
        tests="1",
        failures=str(int(is_failure)),
        errors=str(int(is_error)),
        time=f"{outcome.measured.seconds:.3f}",
    )
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname="memory",
        name=outcome.name,
        time=f"{outcome.measured.seconds:.3f}",
    )
    text = as_text(outcome)
    if is_failure or is_error:
        kind = "failure" if is_failure else "error"
        first = text.splitlines()[0].removeprefix("vespiary memory: ")
        ElementTree.SubElement(case, kind, message=first, type=result).text = text
    else:
        ElementTree.SubElement(case, "system-out").text = text
    return written(suite)
