"""The full mode: every acquisition is kept, and what they come to."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.locks.conftest import Result

PYTHON_CONVOY = """
import threading, time
lock = threading.Lock()
again = threading.RLock()
def work():
    for _ in range(25):
        with lock:
            time.sleep(0.001)
        with again, again:
            pass
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def functions(place: dict[str, Any]) -> list[str]:
    return [frame["function"] for frame in place["stack"]]


@pytest.fixture
def every_way(compiled: Callable[..., Path], watched: Callable[..., Result]) -> dict[str, Any]:
    """The statistics of the program that takes locks in every way."""
    result = watched(compiled("every_way"), options=["--full"])
    assert result.status == 0, result.output
    (found,) = result.report["statistics"]
    assert "threads queued for it, up to 2 at a time" in result.output
    assert "held longest at queues" in result.output
    return dict(found)


def test_every_way_of_taking_a_lock_is_counted_for_what_it_is(every_way: dict[str, Any]) -> None:
    by_number = sorted(every_way["locks"], key=lambda lock: int(lock["name"].split(" L")[1][0]))
    queued, tried, waited_with, again, shared = by_number
    assert every_way["acquisitions"] == 69
    assert every_way["lost"] == 0

    assert queued["acquisitions"] == queued["hold"]["count"] == 60
    assert queued["contended"] == queued["wait"]["count"] > 10
    assert queued["queue_max"] == 2
    assert queued["hold"]["total_ns"] >= 60_000_000
    assert 1_000_000 <= queued["hold"]["p50_ns"] <= queued["hold"]["p90_ns"]
    assert queued["hold"]["p90_ns"] <= queued["hold"]["p99_ns"] <= queued["hold"]["max_ns"]
    # Two of three wait while one holds it, but at the beginning and at the end.
    assert queued["wait"]["total_ns"] > queued["hold"]["total_ns"]
    assert sum(use["acquisitions"] for use in queued["threads"]) == 60
    assert sum(use["wait_ns"] for use in queued["threads"]) == queued["wait"]["total_ns"]
    for place in (queued["waits_at"][0], queued["holds_at"][0]):
        assert functions(place)[0] == "queues"
    assert functions(queued["holds_at"][0])[0] == "queues"

    assert (tried["acquisitions"], tried["failed"], tried["contended"]) == (1, 2, 2)
    assert tried["wait"]["count"] == 1
    assert 25_000_000 <= tried["wait"]["max_ns"] <= tried["hold"]["max_ns"]

    assert (waited_with["acquisitions"], waited_with["hold"]["count"]) == (2, 2)
    assert waited_with["hold"]["max_ns"] < 40_000_000
    assert (again["acquisitions"], again["hold"]["count"]) == (3, 1)
    assert (shared["acquisitions"], shared["hold"]["count"]) == (3, 2)
    # Held to the end of the process.
    assert shared["hold"]["max_ns"] >= 5_000_000


def test_python_locks_are_kept_with_the_stacks_of_python_code(
    watched: Callable[..., Result], tmp_path: Path
) -> None:
    program = tmp_path / "convoy.py"
    program.write_text(PYTHON_CONVOY)
    result = watched(sys.executable, program, options=["--full"])
    assert result.status == 0, result.output
    (found,) = result.report["statistics"]
    convoy = found["locks"][0]
    assert (convoy["kind"], convoy["acquisitions"]) == ("Python lock", 100)
    assert convoy["wait"]["total_ns"] > convoy["hold"]["total_ns"] > 100_000_000
    assert functions(convoy["holds_at"][0])[:2] == ["work", "Thread.run"]
    assert len(convoy["threads"]) == 4
    (again,) = (
        lock
        for lock in found["locks"]
        if lock["kind"] == "Python RLock" and lock["acquisitions"] == 200
    )
    assert again["hold"]["count"] == 100


def test_what_finds_no_room_is_reported_and_the_program_continues(
    watched: Callable[..., Result], tmp_path: Path
) -> None:
    program = tmp_path / "many.py"
    program.write_text(
        "import os, threading\n"
        "lock = threading.Lock()\n"
        "if os.fork(): os.wait()\n"
        "for _ in range(5000):\n    with lock: pass\n"
    )
    result = watched(sys.executable, program, options=["--full", "--full-max", "160KiB"])
    assert result.status == 0, result.output
    kept = sum(each["acquisitions"] for each in result.report["statistics"])
    lost = sum(each["lost"] for each in result.report["statistics"])
    assert len(result.report["statistics"]) == 2
    # Both processes share four rooms of 1,024.
    assert 2_000 < kept <= 4 * 1024
    assert kept + lost >= 10_000
    assert result.report["coverage"]["lost"]["acquisitions"] == lost
    assert "found no room: --full-max allows more" in result.output


def test_a_deadlock_is_found_and_told_in_the_full_mode_too(
    compiled: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    result = watched(compiled("deadlock"), "3", options=["--full"])
    assert result.status == 121
    (found,) = result.report["statistics"]
    assert [lock["acquisitions"] for lock in found["locks"]] == [1, 1, 1]
    # They are held still, and were until the deadlock was reported.
    assert all(lock["hold"]["max_ns"] > 50_000_000 for lock in found["locks"])


def test_a_limit_on_the_size_of_files_does_not_end_the_program(
    compiled: Callable[..., Path],
) -> None:
    verb = f"{sys.executable} -m vespiary locks --full --full-max 1GiB --"
    script = f"ulimit -f 400000; exec {verb} {compiled('every_way')}"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=40, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "69 acquisitions kept" in done.stderr


def test_of_many_processes_the_text_tells_the_busiest(
    watched: Callable[..., Result], tmp_path: Path
) -> None:
    program = tmp_path / "forks.py"
    program.write_text(
        "import os, threading\n"
        "lock = threading.Lock()\n"
        "for _ in range(5):\n"
        "    if os.fork() == 0:\n"
        "        with lock: os._exit(0)\n"
        "    os.wait()\n"
    )
    result = watched(sys.executable, program, options=["--full"])
    assert result.status == 0, result.output
    assert len(result.report["statistics"]) == 6
    assert result.output.count("acquisitions kept in") == 3
    assert "3 more processes with fewer" in result.output
    spans = [each["span_ns"] for each in result.report["statistics"]]
    assert all(0 <= span < 60 * 10**9 for span in spans)
