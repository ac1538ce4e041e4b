"""Deadlocks that happen: found within a second, with everybody in them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.locks.conftest import PROGRAMS, Result
from vespiary.prove.locks.facts import Lock, Thread
from vespiary.prove.locks.live import View
from vespiary.prove.locks.together import Together


@pytest.mark.parametrize("count", [2, 3, 8, 25])
def test_native_threads_in_a_ring_are_all_named(
    count: int, compiled: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    result = watched(compiled("deadlock"), str(count))
    assert result.status == 121
    (found,) = result.findings("deadlock")
    # Which process is the first of the circle changes from run to run.
    assert result.kinds <= {"deadlock", "information"}, result.output
    assert len(found["threads"]) == len(found["stacks"]) == count
    for stack in found["stacks"]:
        functions = [frame["function"] for frame in stack["wanted_at"]]
        assert functions[:2] == ["take_next", "waits"]


@pytest.mark.parametrize("count", [2, 3, 25])
def test_python_threads_in_a_ring_are_all_named(count: int, watched: Callable[..., Result]) -> None:
    result = watched(sys.executable, PROGRAMS / "python_deadlock.py", str(count))
    assert result.status == 121
    (found,) = result.findings("deadlock")
    assert len(found["threads"]) == count
    for stack in found["stacks"]:
        functions = [frame["function"] for frame in stack["wanted_at"]]
        assert functions[:2] == ["take_next", "waits"]


@pytest.mark.parametrize("count", [2, 25])
def test_tasks_in_a_ring_are_all_named(count: int, watched: Callable[..., Result]) -> None:
    result = watched(sys.executable, PROGRAMS / "python_tasks_deadlock.py", str(count))
    assert result.status == 121
    (found,) = result.findings("deadlock")
    assert len(found["threads"]) == count
    assert all("(waits)" in task for task in found["threads"])
    for stack in found["stacks"]:
        assert [frame["function"] for frame in stack["wanted_at"]] == ["take_next", "waits"]


def test_a_wait_within_a_wait_does_not_hide_it(watched: Callable[..., Result]) -> None:
    # A Python lock's wait gives the interpreter's own mutex away, which may be waited for too.
    for _ in range(8):
        result = watched(sys.executable, PROGRAMS / "python_deadlock.py", "3", seconds=10)
        assert result.status == 121


def test_a_deadlock_is_reported_within_a_second_of_its_beginning(
    compiled: Callable[..., Path],
) -> None:
    # The program deadlocks within milliseconds of its start, so the whole run is an upper bound;
    # what a run without a deadlock takes is the interpreter's and the reports' own time.
    def run_seconds(program: str) -> float:
        began = time.monotonic()
        words = [sys.executable, "-m", "vespiary", "locks", "--", str(compiled(program))]
        subprocess.run(words, capture_output=True, check=False, timeout=40)
        return time.monotonic() - began

    own = min(run_seconds("two_orders") for _ in range(2))
    assert min(run_seconds("deadlock") for _ in range(3)) - own < 1.0


def test_a_deadlocked_process_is_ended_with_its_children(
    compiled: Callable[..., Path], watched: Callable[..., Result], tmp_path: Path
) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.argv[1], '2'])\n"
        "print(child.pid, file=open(sys.argv[2], 'w'), flush=True)\n"
        "child.wait()\n"
    )
    told = tmp_path / "pid"
    result = watched(sys.executable, script, compiled("deadlock"), told)
    assert result.status == 121
    status = Path(f"/proc/{told.read_text().strip()}/stat")
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("count", [2, 25])
def test_processes_in_a_ring_are_all_named(
    count: int, compiled: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    result = watched(compiled("processes_deadlock"), str(count))
    assert result.status == 121
    (found,) = result.findings("deadlock")
    # Which process is the first of the circle changes from run to run.
    assert result.kinds <= {"deadlock", "information"}, result.output
    assert len(found["threads"]) == len(found["stacks"]) == count
    assert len({thread.rpartition(" of process ")[2] for thread in found["threads"]}) == count
    for stack in found["stacks"]:
        functions = [frame["function"] for frame in stack["wanted_at"]]
        assert functions[:2] == ["take_next", "waits"]


def test_processes_of_another_namespace_are_found_by_their_numbers_here(
    compiled: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    options = ["--pid", "--fork", "--mount-proc"]
    if os.geteuid() != 0:
        options.insert(0, "--map-root-user")
    command = ["unshare", *options]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no PID namespace can be made here")
    # There the program is process 1: here that is one with which it has nothing to do.
    result = watched(*command, compiled("deadlock"), "3")
    assert result.status == 121, result.output
    (found,) = result.findings("deadlock")
    assert found["process"] > 1
    numbers = {int(thread.rpartition("(")[2].rstrip(")")) for thread in found["threads"]}
    assert len(numbers) == 3
    assert min(numbers) >= found["process"]
    assert "outlived" not in result.output


@pytest.mark.parametrize(("count", "method"), [(3, "fork"), (2, "spawn"), (2, "forkserver")])
def test_python_processes_in_a_ring_are_all_named(
    count: int, method: str, watched: Callable[..., Result]
) -> None:
    program = PROGRAMS / "python_processes_deadlock.py"
    result = watched(sys.executable, program, str(count), method)
    assert result.status == 121
    (found,) = result.findings("deadlock")
    assert len({thread.rpartition(" of process ")[2] for thread in found["threads"]}) == count
    for stack in found["stacks"]:
        functions = [frame["function"] for frame in stack["wanted_at"]]
        assert functions[:3] == ["SemLock.__enter__", "take_next", "waits"]


def test_who_held_a_lock_at_a_fork_is_named_with_the_forks_place(
    compiled: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    (found,) = watched(compiled("fork_left_locked")).findings("deadlock")
    waits, keeps, forks = found["stacks"]
    assert waits["wanted_at"][0]["function"] == "want_it"
    assert keeps["held_since"][0]["function"] == "keeps"
    assert "of the parent" in keeps["thread"]
    assert forks["wanted_at"][0]["function"] == "main"
    assert "pthread_atfork" in found["advice"]


def test_the_python_thread_that_held_a_lock_at_a_fork_is_named(
    watched: Callable[..., Result],
) -> None:
    result = watched(sys.executable, PROGRAMS / "python_fork_left_locked.py")
    (found,) = result.findings("deadlock")
    waits, keeps, forks = found["stacks"]
    assert waits["wanted_at"][0]["function"] == "want_it"
    assert keeps["held_since"][0]["function"] == "keeps"
    assert forks["wanted_at"][0]["file"].endswith("python_fork_left_locked.py")


def test_an_owner_that_has_ended_with_its_process_is_named(
    compiled: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    (found,) = watched(compiled("processes_owner_ended")).findings("deadlock")
    assert "process has ended" in found["title"]
    _, owner = found["stacks"]
    assert owner["held_since"][0]["function"] == "keeps"


class _Read:
    """What a look reads: a thread waits for a lock whose owner has ended."""

    def __init__(self, lock: Lock) -> None:
        ended = Thread(1, 11, False, None, 0, None, 0, None, False, None, 0, 1, 0, "ended", ())
        waiting = Thread(0, 10, True, None, 0, None, 0, 0, False, None, 1, 1, 1, "waiting", ())
        self._threads = [waiting, ended]
        self._lock = lock

    def threads(self) -> list[Thread]:
        return self._threads

    def lock(self, number: int) -> Lock:
        return self._lock

    def owners(self, number: int) -> list[int]:
        return [1]

    def is_there(self, thread: Thread) -> bool:
        return thread.alive

    def record(self, number: int) -> SimpleNamespace:
        return SimpleNamespace(pid=1)


@pytest.mark.parametrize(
    ("kind", "life", "count"),
    [("mutex", False, 1), ("end of a thread", True, 0), ("Python lock", True, 0)],
)
def test_who_waits_for_the_end_of_a_thread_that_has_ended_is_not_deadlocked(
    kind: str, life: bool, count: int
) -> None:
    lock = Lock(0, 4096, kind, True, 1, None, 0, signal=life, life=life)
    view = View(cast("Together", _Read(lock)))
    assert len(view.deadlocks()) == count
