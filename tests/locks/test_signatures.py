"""Different inversions have different signatures, and a baseline knows how many there were."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.locks.conftest import Result, compile_cpp
from vespiary.prove.locks.places import Frame
from vespiary.prove.locks.signatures import lock_part, stack_part

SOURCES = Path(__file__).parent / "signatures"
HELPERS = SOURCES / "helpers.py"


@pytest.mark.parametrize("optimised", ["-O0", "-O2"])
def test_inversions_in_lambdas_and_in_methods_of_one_name_are_different(
    optimised: str, tmp_path: Path, watched: Callable[..., Result]
) -> None:
    result = watched(compile_cpp(SOURCES / "lambdas.cc", tmp_path, optimised))
    found = result.findings("inversion")
    assert len({finding["signature"] for finding in found}) == len(found) == 4, result.output
    # The library's own frames do not drown the program's.
    assert "__gthread_mutex_lock" not in result.output
    assert "Account::forth()" in result.output
    assert "within the C++ library" not in result.output


def test_inversions_through_a_helper_are_different(watched: Callable[..., Result]) -> None:
    result = watched(sys.executable, HELPERS, "1")
    found = result.findings("inversion")
    assert len(found) == 4, result.output
    assert {finding["sets"] for finding in found} == {1}


def test_a_baseline_pins_the_number_of_sets_of_locks(
    tmp_path: Path, watched: Callable[..., Result]
) -> None:
    baseline = tmp_path / "baseline.json"
    watched(sys.executable, HELPERS, "2", options=["--write-baseline", baseline])
    same = watched(sys.executable, HELPERS, "2", options=["--baseline", baseline])
    assert same.status == 0, same.output
    fewer = watched(sys.executable, HELPERS, "1", options=["--baseline", baseline])
    assert fewer.status == 0, fewer.output
    more = watched(sys.executable, HELPERS, "3", options=["--baseline", baseline])
    assert more.status == 120, more.output
    assert "found with 3 different sets of locks" in more.output


def test_a_signature_stays_when_code_moves_and_differs_between_files(tmp_path: Path) -> None:
    one, two = tmp_path / "one" / "models.py", tmp_path / "two" / "models.py"
    for path, line in ((one, "with a, b: pass"), (two, "\n\nwith a, b: pass")):
        path.parent.mkdir()
        path.write_text(line)
    moved = [Frame("save", "", str(one), line) for line in (1, 40)]
    assert len({stack_part([frame]) for frame in moved}) == 1
    files = [Frame("save", "", str(path), 1) for path in (one, two)]
    assert len({stack_part([frame]) for frame in files}) == 2
    nameless = [Frame("<lambda>", "", str(two), line) for line in (2, 3)]
    assert len({stack_part([frame]) for frame in nameless}) == 2


def test_what_changes_from_run_to_run_is_not_part_of_a_lock() -> None:
    assert lock_part("mutex L7 at 0x55f0", []) == lock_part("mutex L9 at 0x7f00", [])
    assert lock_part("mutex L7 ring+40", []) == lock_part("mutex L8 ring+80", [])
    assert lock_part("mutex L7 ring", []) != lock_part("mutex L7 table", [])
