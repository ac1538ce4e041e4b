"""The keeper's own look at a group: when it is full, with files as the kernel has them."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vespiary.prove.memory.keeper import Keeper
from vespiary.prove.memory.kept import Full

MIB = 1 << 20
LIMIT = 100 * MIB
LOOKS = 20


class Group:
    """A group of version 1, in files."""

    def __init__(self, folder: Path) -> None:
        self.full = Full(
            LIMIT,
            folder / "usage",
            folder / "stat",
            ("total_rss", "total_shmem"),
            {"total_cache": 1, "total_shmem": -1},
            folder / "failures",
        )
        self._refused = 0
        self.set(LIMIT, rss=LIMIT - 2 * MIB, cache=MIB // 2)

    def set(self, usage: int, *, rss: int, cache: int) -> None:
        self.full.usage.write_text(f"{usage}\n")
        self.full.stat.write_text(f"total_cache {cache}\ntotal_rss {rss}\ntotal_shmem 0\n")
        self.refuse(0)

    def refuse(self, times: int) -> None:
        self._refused += times
        self.full.failures.write_text(f"{self._refused}\n")


@pytest.fixture
def group(tmp_path: Path) -> Group:
    return Group(tmp_path)


@pytest.fixture
def keeper(group: Group) -> Iterator[Keeper]:
    control, tool = os.pipe()
    plan = {"control": control, "result": tool, "given": [], "alarm": None, "full": group.full}
    yield Keeper(plan)
    os.close(control)
    os.close(tool)


def is_full_soon(keeper: Keeper, group: Group, refused: int) -> bool:
    """Look many times for 0.2 seconds; before each but the first, memory is refused so often."""
    deadline = time.monotonic() + 0.2
    looks = 0
    while looks < LOOKS or time.monotonic() < deadline:
        if keeper._is_full():
            return True
        looks += 1
        group.refuse(refused)
        time.sleep(0.005)
    return False


def test_a_group_is_full_when_memory_is_refused_and_nothing_can_be_freed(
    keeper: Keeper, group: Group
) -> None:
    assert not keeper._is_full()
    assert is_full_soon(keeper, group, 1)


def test_a_group_at_its_limit_is_not_full_while_nothing_is_refused(
    keeper: Keeper, group: Group
) -> None:
    assert not is_full_soon(keeper, group, 0)


@pytest.mark.parametrize(
    ("usage", "rss", "cache"),
    [
        (LIMIT, LIMIT - 5 * MIB, 4 * MIB),
        (LIMIT - 2 * MIB, LIMIT - 3 * MIB, 0),
        (LIMIT, LIMIT // 2, 0),
    ],
    ids=["cache", "below the limit", "memory of the kernel"],
)
def test_a_group_in_which_something_can_be_freed_is_not_full(
    keeper: Keeper, group: Group, usage: int, rss: int, cache: int
) -> None:
    group.set(usage, rss=rss, cache=cache)
    assert not is_full_soon(keeper, group, 1)


def test_a_group_is_looked_at_more_often_near_its_limit(keeper: Keeper, group: Group) -> None:
    group.set(LIMIT // 4, rss=0, cache=0)
    keeper._is_full()
    seldom = keeper._look_seconds
    group.set(LIMIT * 3 // 4, rss=0, cache=0)
    keeper._is_full()
    assert keeper._look_seconds < seldom


def test_without_the_files_nothing_is_full(keeper: Keeper, group: Group) -> None:
    group.full.usage.unlink()
    assert not is_full_soon(keeper, group, 1)
