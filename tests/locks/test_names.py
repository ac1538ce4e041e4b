"""What the stacks of a report name."""

import sys
from collections.abc import Callable

from tests.locks.conftest import PROGRAMS, Result


def test_a_function_in_the_place_of_one_that_is_gone_has_its_own_name(
    watched: Callable[..., Result],
) -> None:
    result = watched(sys.executable, PROGRAMS / "python_code_reborn.py")
    (finding,) = result.findings("inversion")
    made = {lock["made"][0]["function"] for lock in finding["locks"]}
    assert made == {"here", "there"}
