"""What the stacks of a report name."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.locks.conftest import PROGRAMS, Result
from vespiary.prove.locks import sources
from vespiary.prove.locks.assignments import assigned
from vespiary.prove.locks.places import Frame


def test_a_function_in_the_place_of_one_that_is_gone_has_its_own_name(
    watched: Callable[..., Result],
) -> None:
    result = watched(sys.executable, PROGRAMS / "python_code_reborn.py")
    (finding,) = result.findings("inversion")
    made = {lock["made"][0]["function"] for lock in finding["locks"]}
    assert made == {"here", "there"}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("cache_lock = threading.Lock()", "cache_lock"),
        ("count = 0; cache_lock = threading.Lock()", "cache_lock"),
        ("count, cache_lock = 0, Lock()", "cache_lock"),
        ("self.lock: Lock = Lock()", "self.lock"),
        ("cache = Cache(count=1, lock=RLock())", "cache.lock"),
        ("cache = Cache(Lock())", "cache"),
        ("locks = [Lock() for _ in range(9)]", "locks"),
        ("locks[key] = Lock()", "locks[key]"),
        ("locks = {'one': Lock(), 'two': 2}", "locks['one']"),
        ("locks = {'one': Lock(), 'two': Lock()}", None),
        ("lock = other = L()", "other"),
        ("count = locks[key]", None),
        ("count = int(text) + size(text)", None),
        ("return Lock()", None),
    ],
)
def test_a_lock_is_named_by_what_its_call_is_assigned_to(
    line: str, name: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "module.py"
    path.write_text(f"def work():\n    {line}\n")
    assert assigned(Frame("work", "", str(path), 2)) == name


@pytest.mark.parametrize(
    ("function", "module", "is_library"),
    [
        ("std::mutex::lock()", "server", True),
        ("void std::__invoke_impl<void, Account::work()>(int)", "server", True),
        ("boost::detail::thread_data<Worker>::run()", "server", True),
        ("+0xd44a3", "libstdc++.so.6", True),
        ("+0x1234", "libboost_thread.so.1.74.0", True),
        ("Account::forth(std::mutex&)", "server", False),
        ("std::vector<int> Account::all() const", "server", False),
        ("mystd::work()", "server", False),
        ("main::{lambda(std::string)#1}::operator()(std::string) const", "server", False),
    ],
)
def test_what_is_cpps_own_is_recognised_by_its_name(
    function: str, module: str, is_library: bool
) -> None:
    assert sources.is_folded(Frame(function, module)) == is_library
