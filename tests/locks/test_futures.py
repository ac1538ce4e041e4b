"""Futures of the C++ library hand over what happened before."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.locks.conftest import Result, compile_cpp

SOURCE = Path(__file__).parent / "futures" / "futures.cc"


@pytest.fixture(scope="session")
def futures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_cpp(SOURCE, tmp_path_factory.mktemp("futures"), "-std=c++17", "-O1")


@pytest.mark.parametrize(("what", "status"), [("async", 0), ("promise", 0), ("before", 120)])
def test_what_a_future_has_told_was_before(
    what: str, status: int, futures: Path, watched: Callable[..., Result]
) -> None:
    result = watched(futures, what)
    assert result.status == status, result.output
