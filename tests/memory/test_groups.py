"""Control groups of version 2, in made-up folders: where a group is made, and how it is read."""

import os
from pathlib import Path

import pytest

from vespiary.prove.memory import groups
from vespiary.prove.memory.groups import Version2
from vespiary.prove.memory.hierarchies import Hierarchy, memory_version_1, version_2
from vespiary.prove.memory.processes import Memory
from vespiary.prove.memory.reading import NotPossible

STAT = """\
anon 1000
file 500
kernel 70
sock 5
shmem 200
"""


def tree(top: Path, *passing: str) -> Hierarchy:
    """Groups a/b/c; those that are named pass the memory controller on to their children."""
    for name in ("", "a", "a/b", "a/b/c"):
        folder = top / name
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.procs").touch()
        controllers = "cpu memory" if (name or "top") in passing else "cpu"
        (folder / "cgroup.subtree_control").write_text(controllers + "\n")
    return Hierarchy(top, top / "a/b/c")


@pytest.fixture(autouse=True)
def files(monkeypatch: pytest.MonkeyPatch) -> None:
    """New groups have the files that the kernel would make."""
    make = groups._make

    def filled(parent: Path) -> tuple[Path, int]:
        folder, holds = make(parent)
        for name in ("memory.oom.group", "memory.max", "memory.swap.max", "cgroup.procs"):
            (folder / name).touch()
        (folder / "memory.stat").write_text(STAT)
        (folder / "memory.peak").write_text("2000\n")
        (folder / "memory.swap.current").write_text("30\n")
        (folder / "memory.events").write_text("low 0\nmax 9\noom 0\noom_kill 0\n")
        (folder / "memory.pressure").write_text("some avg10=1.50 avg60=0 avg300=0 total=1\n")
        return folder, holds

    monkeypatch.setattr(groups, "_make", filled)


def test_a_group_is_made_in_the_nearest_group_that_passes_the_controller_on(tmp_path: Path) -> None:
    group = Version2(1 << 20, tree(tmp_path, "top", "a"))
    (folder,) = group.place.remove
    assert folder.parent == tmp_path / "a"
    assert (folder / "memory.max").read_text() == str(1 << 20)
    assert (folder / "memory.swap.max").read_text() == "0"
    assert (folder / "memory.oom.group").read_text() == "1"


def test_without_the_controller_no_group_is_made(tmp_path: Path) -> None:
    with pytest.raises(NotPossible, match="no memory controller in"):
        Version2(1, tree(tmp_path))


def test_a_group_that_belongs_to_another_user_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(NotPossible, match="a belongs to another user"):
        Version2(1, tree(tmp_path, "a"))


def test_what_the_kernel_says_is_sorted_by_kind(tmp_path: Path) -> None:
    group = Version2(1, tree(tmp_path, "top"))
    memory, kernel, mark = group.look()
    assert (memory, kernel, mark) == (Memory(1030, 200, 300), 75, 2000)
    assert group.details()["pressure_percent"] == {"some": 1.5}


@pytest.mark.parametrize(
    ("events", "is_over"),
    [
        ("oom 0\noom_kill 0\n", False),
        ("oom 1\noom_kill 0\n", False),
        ("oom 0\noom_kill 1\n", False),
        ("oom 1\noom_kill 1\n", True),
    ],
)
def test_only_a_kill_for_the_groups_own_limit_counts(
    tmp_path: Path, events: str, is_over: bool
) -> None:
    group = Version2(1, tree(tmp_path, "top"))
    (group.place.remove[0] / "memory.events").write_text(events)
    assert group.is_over() is is_over
    assert group.details()["kills"] == int(events[-2])


def proc(folder: Path, groups_of: str, mounts: str) -> Path:
    (folder / "cgroup").write_text(groups_of)
    (folder / "mountinfo").write_text(mounts)
    return folder


def test_both_hierarchies_are_found_where_they_are_mounted(tmp_path: Path) -> None:
    own = proc(
        tmp_path,
        "5:cpu,cpuacct:/x\n4:memory:/docker/1\n0::/user/2\n",
        "30 1 0:25 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n"
        "31 1 0:26 /docker/1 /sys/fs/cgroup/memory rw - cgroup none rw,memory\n"
        "32 1 0:27 / /sys/fs/cgroup/cpu rw - cgroup none rw,cpu,cpuacct\n",
    )
    assert version_2(own) == Hierarchy(
        Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/unified/user/2")
    )
    assert memory_version_1(own) == Hierarchy(
        Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup/memory")
    )


def test_without_mounts_there_are_no_hierarchies(tmp_path: Path) -> None:
    own = proc(tmp_path, "0::/\n", "30 1 0:25 / / rw - ext4 /dev/vda rw\n")
    assert version_2(own) is None
    assert memory_version_1(own) is None
