"""Futures of the C++ library hand over what happened before."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.locks.conftest import Result

SOURCE = Path(__file__).parent / "futures" / "futures.cc"


@pytest.fixture(scope="session")
def futures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("c++")
    assert compiler, "c++ is missing, which comes with the C compiler that builds this project"
    program = tmp_path_factory.mktemp("futures") / "futures"
    words = [compiler, "-std=c++17", "-O1", "-g", "-pthread", str(SOURCE), "-o", str(program)]
    subprocess.run(words, check=True)
    return program


@pytest.mark.parametrize(("what", "status"), [("async", 0), ("promise", 0), ("before", 120)])
def test_what_a_future_has_told_was_before(
    what: str, status: int, futures: Path, watched: Callable[..., Result]
) -> None:
    result = watched(futures, what)
    assert result.status == status, result.output
