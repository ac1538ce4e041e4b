"""The guards of C++'s static variables are locks as long as the variable is made."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.locks.conftest import Result, compile_cpp

SOURCE = Path(__file__).parent / "guards" / "statics.cc"


@pytest.mark.parametrize(("what", "status"), [("order", 0), ("hang", 121)])
def test_a_static_variable_whose_constructor_waits_is_part_of_a_deadlock(
    what: str, status: int, tmp_path: Path, watched: Callable[..., Result]
) -> None:
    result = watched(compile_cpp(SOURCE, tmp_path, "-O1"), what)
    assert result.status == status, result.output
    if status:
        (found,) = result.findings("deadlock")
        assert {lock["kind"] for lock in found["locks"]} == {"mutex", "once"}
