"""A program for each rule; what is to be found stands in its first line."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.locks.conftest import PROGRAMS, Result

CODES = {"nothing": 0, "information": 0, "inversion": 120, "deadlock": 121, "misuse": 122}
UNCOVERED = 124

WITH_OPTIONS = {
    "stall.c",
    "stall_for_good.c",
    "stall_input.c",
    "python_stall_for_good.py",
    "hidden.c",
    "every_way.c",
    "native.c",
}
"""Those that a test of its own runs, with the option that they are for; and a library."""

programs = sorted(
    path
    for path in [*PROGRAMS.glob("*.c"), *PROGRAMS.glob("python_*.py")]
    if path.name not in WITH_OPTIONS
)


@pytest.mark.parametrize("program", programs, ids=lambda path: path.name)
def test_a_program_gets_its_verdict(
    program: Path, compiled: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    expected = re.search(r"expect: (\w+)", program.read_text().partition("\n")[0])
    assert expected is not None
    verdict = expected[1]
    if program.suffix == ".c":
        result = watched(compiled(program.stem))
    else:
        result = watched(sys.executable, program)
    if verdict == "uncovered":
        assert result.status == UNCOVERED, result.output
        assert result.report["coverage"]["operations"] == 0
        return
    assert result.status == CODES[verdict], result.output
    assert result.report["coverage"]["operations"] > 0
    told = result.kinds - {"information"}
    if verdict in ("nothing", "information"):
        assert not told, result.output
        if verdict == "information":
            assert result.kinds == {"information"}, result.output
    else:
        assert verdict in told, result.output


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_everyday_use_of_multiprocessing_is_quiet_however_processes_start(
    method: str, watched: Callable[..., Result]
) -> None:
    for name in ("everyday", "in_sequence"):
        result = watched(sys.executable, PROGRAMS / f"python_processes_{name}.py", method)
        assert result.status == 0, result.output
