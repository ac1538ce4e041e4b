"""Python's locks, native ones and the GIL in one graph: the programs `mixed_*.py`.

Their first lines tell what is to be found, and of which kinds of locks.
"""

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.locks.conftest import PROGRAMS, Result

CODES = {"nothing": 0, "inversion": 120, "deadlock": 121}


@pytest.fixture(autouse=True)
def native(compiled: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The library of mutexes that the programs load."""
    monkeypatch.setenv("NATIVE", str(compiled("native", "-shared", "-fPIC")))


@pytest.mark.parametrize("program", sorted(PROGRAMS.glob("mixed_*.py")), ids=lambda path: path.name)
def test_a_mixed_program_gets_its_verdict(program: Path, watched: Callable[..., Result]) -> None:
    line = program.read_text().partition("\n")[0]
    expected = re.fullmatch(r"# expect: (\w+)(?: of (.+))?", line)
    assert expected is not None
    verdict, kinds = expected[1], expected[2]
    result = watched(sys.executable, program)
    assert result.status == CODES[verdict], result.output
    if verdict == "nothing":
        assert not result.kinds - {"information"}, result.output
        return
    (found,) = result.findings(verdict)
    assert sorted(lock["kind"] for lock in found["locks"]) == sorted(kinds.split(", "))
    assert len(found["threads"]) == len(found["stacks"]) == len(found["locks"])


@pytest.mark.parametrize("count", [4, 10])
def test_a_ring_of_python_locks_and_mutexes_is_named_wholly(
    count: int, watched: Callable[..., Result]
) -> None:
    result = watched(sys.executable, PROGRAMS / "mixed_deadlock.py", str(count))
    (found,) = result.findings("deadlock")
    assert len(found["threads"]) == count


def test_a_deadlock_with_the_gil_is_told_within_a_second(watched: Callable[..., Result]) -> None:
    # The whole run is an upper bound: both interpreters' starts and the reports are in it.
    began = time.monotonic()
    result = watched(sys.executable, PROGRAMS / "mixed_gil_deadlock.py")
    assert time.monotonic() - began < 2.5
    (found,) = result.findings("deadlock")
    (with_gil,) = (step for step in found["stacks"] if step["holds"] == "the GIL")
    (wants_gil,) = (step for step in found["stacks"] if step["wants"] == "the GIL")
    assert with_gil["wanted_at"][0]["function"] == "take"
    assert "call_slowly" in [frame["function"] for frame in wants_gil["wanted_at"]]


def test_turns_at_the_interpreter_are_no_operations(
    watched: Callable[..., Result], tmp_path: Path
) -> None:
    program = tmp_path / "yields.py"
    program.write_text("import time\nfor number in range(2_000): time.sleep(0)\n")
    result = watched(sys.executable, program)
    assert result.report["coverage"]["operations"] < 2_000
