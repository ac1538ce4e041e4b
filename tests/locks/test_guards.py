"""The guards of C++'s static variables are locks as long as the variable is made."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.locks.conftest import Result

SOURCE = Path(__file__).parent / "guards" / "statics.cc"


@pytest.mark.parametrize(("what", "status"), [("order", 0), ("hang", 121)])
def test_a_static_variable_whose_constructor_waits_is_part_of_a_deadlock(
    what: str, status: int, tmp_path: Path, watched: Callable[..., Result]
) -> None:
    compiler = shutil.which("c++")
    assert compiler, "c++ is missing, which comes with the C compiler that builds this project"
    program = tmp_path / "statics"
    words = [compiler, "-O1", "-g", "-pthread", str(SOURCE), "-o", str(program)]
    subprocess.run(words, check=True)
    result = watched(program, what)
    assert result.status == status, result.output
    if status:
        (found,) = result.findings("deadlock")
        assert {lock["kind"] for lock in found["locks"]} == {"mutex", "once"}
