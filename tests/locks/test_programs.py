"""A program for each rule; what is to be found stands in its first line."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benches.locks.verdicts import Program, is_ours_right, programs, verdict
from tests.locks.conftest import PROGRAMS, Result

ELSEWHERE = {"every_way.c", "hidden.c"}
"""Those that a test of its own runs; and those of both kinds of locks, which `test_mixed` runs."""

CASES = [
    program
    for program in programs()
    if program.path.name not in ELSEWHERE and not program.path.name.startswith("mixed_")
]


@pytest.mark.parametrize("program", CASES, ids=lambda program: program.path.name)
def test_a_program_gets_its_verdict(
    program: Program, compiled: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    command: list[str | Path] = [sys.executable, program.path]
    if program.path.suffix == ".c":
        command = [compiled(program.path.stem)]
    result = watched(*command, options=program.options)
    said = verdict(result.status, result.report["findings"])
    assert is_ours_right(program, said), result.output
    assert (result.report["coverage"]["operations"] == 0) == (said == "uncovered")


@pytest.mark.parametrize(
    ("status", "findings", "said"),
    [
        (0, [], "nothing"),
        (0, [("information", False)], "information"),
        (0, [("stall", False), ("information", False)], "warning"),
        (123, [("stall", True)], "stall"),
        (121, [("deadlock", True), ("stall", False)], "deadlock"),
        (124, [], "uncovered"),
        (3, [("stall", False)], "stall, code 3"),
        (120, [], "nothing, code 120"),
    ],
)
def test_a_verdict_needs_a_finding_and_its_exit_code(
    status: int, findings: list[tuple[str, bool]], said: str
) -> None:
    found: list[dict[str, Any]] = [{"kind": kind, "fails": fails} for kind, fails in findings]
    assert verdict(status, found) == said


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_everyday_use_of_multiprocessing_is_quiet_however_processes_start(
    method: str, watched: Callable[..., Result]
) -> None:
    for name in ("everyday", "in_sequence"):
        result = watched(sys.executable, PROGRAMS / f"python_processes_{name}.py", method)
        assert result.status == 0, result.output
