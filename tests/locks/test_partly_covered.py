"""What a program uses of which only a part is watched is reported, and only if it uses it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.locks.conftest import COMPILER, Result, compile_cpp
from vespiary.prove.locks import exits, gaps
from vespiary.prove.locks.notes import Note

SOURCES = Path(__file__).parent / "uncovered"

Compiled = Callable[..., Path]
Watched = Callable[..., Result]


@pytest.fixture(scope="session")
def uncovered(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """Compiles a program of the folder `uncovered`."""
    folder = tmp_path_factory.mktemp("uncovered")

    def build(name: str) -> Path:
        target = folder / name
        words = ["-O1", "-pthread", str(SOURCES / f"{name}.c"), "-o", str(target)]
        subprocess.run([COMPILER, *words], check=True)
        return target

    return build


def told(result: Result) -> str:
    assert result.status == 0, result.output
    return "\n".join(result.report["coverage"]["notes"])


def test_a_wait_on_a_futex_of_the_programs_own_is_reported_with_its_file(
    uncovered: Compiled, watched: Watched
) -> None:
    program = uncovered("own_futex")
    (gap,) = watched(program).report["coverage"]["gaps"]
    assert "made of atomics and futexes" in gap["why"]
    assert gap["what"] == str(program)


def test_futexes_on_which_watched_parts_wait_are_not_reported(
    tmp_path: Path, watched: Watched
) -> None:
    folder = Path(__file__).parent
    futures = compile_cpp(folder / "futures" / "futures.cc", tmp_path)
    result = watched(futures, "ready")
    assert "futexes" not in result.output, result.output


def test_streams_that_a_program_locks_or_implements_are_reported(
    uncovered: Compiled, watched: Watched
) -> None:
    program = uncovered("streams")
    assert "while fprintf and similar functions hold them" in told(watched(program, "lock"))
    implemented = told(watched(program, "implement"))
    assert "fopencookie" in implemented
    assert "fprintf" not in implemented


def test_a_mutex_in_shared_memory_that_does_not_say_so_is_reported(
    uncovered: Compiled, watched: Watched
) -> None:
    program = uncovered("private_in_shared")
    assert "without PTHREAD_PROCESS_SHARED" in told(watched(program))
    assert "PTHREAD_PROCESS_SHARED" not in told(watched(program, "shared"))


def test_orders_of_more_threads_than_are_distinguished_are_reported(
    uncovered: Compiled, watched: Watched
) -> None:
    program = uncovered("many_ordering")
    assert "after the first 64" not in told(watched(program, 64))
    assert "after the first 64" in told(watched(program, 66))


def test_boosts_read_write_lock_is_reported(tmp_path: Path, watched: Watched) -> None:
    program = compile_cpp(SOURCES / "boost_like.cc", tmp_path, "-O1")
    assert "Boost's shared_mutex" in told(watched(program))


def test_native_locks_in_tasks_are_reported(watched: Watched) -> None:
    script = SOURCES / "tasks_and_native.py"
    assert "asyncio's locks to native locks" in told(watched(sys.executable, script, "native"))
    assert "native locks" not in told(watched(sys.executable, script))


def test_semaphores_of_asyncio_that_count_as_notifications_are_reported(watched: Watched) -> None:
    script = (
        "import asyncio\n"
        "async def main():\n"
        "    async with asyncio.Semaphore({}): await asyncio.sleep(0)\n"
        "asyncio.run(main())\n"
    )
    assert "asyncio's semaphores" in told(watched(sys.executable, "-c", script.format(2)))
    assert "asyncio's semaphores" not in told(watched(sys.executable, "-c", script.format(1)))


def test_python_locks_that_are_notifications_are_reported(watched: Watched) -> None:
    taken = "import threading as t; l = t.Lock(); l.acquire(); x = t.Thread(target={}); x.start()"
    script = taken + "; x.join(); l.acquire(False) and l.release()"
    assert "another thread released" in told(
        watched(sys.executable, "-c", script.format("l.release"))
    )
    everyday = (
        "import queue, threading as t\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "q = queue.Queue(); e = t.Event(); b = t.Barrier(2)\n"
        "x = t.Thread(target=lambda: (q.get(), e.wait(), b.wait())); x.start()\n"
        "q.put(1); e.set(); b.wait(); x.join()\n"
        "with ThreadPoolExecutor(2) as pool: list(pool.map(abs, range(9)))\n"
    )
    assert "another thread released" not in told(watched(sys.executable, "-c", everyday))


@pytest.mark.parametrize(
    ("version", "is_free", "is_untested"),
    [
        ("3.13.1 (main)", False, False),
        ("3.13.1 experimental free-threading build (main)", True, False),
        ("3.14.0 free-threading build (main)", True, True),
    ],
)
def test_an_interpreter_without_a_gil_says_what_was_not_tested(
    version: str, is_free: bool, is_untested: bool
) -> None:
    whys = [gap.why for gap in gaps.of_interpreters([Note("P", 1, 2, "-", version)])]
    assert any("a GIL that it enables" in why for why in whys) == is_free
    assert any("not been tested" in why for why in whys) == is_untested


def test_a_limit_of_the_size_of_files_does_not_end_the_program(
    compiled: Compiled, watched: Watched
) -> None:
    result = watched("sh", "-c", f"ulimit -f 100; {compiled('two_orders')}")
    # It ends by itself, and not by SIGXFSZ. Without a record it is not watched, and does not pass.
    assert result.status == 124, result.output
    assert "found no room in the record" in result.output


@pytest.mark.parametrize("more", [[], ["fork"]])
def test_a_process_that_has_changed_its_root_is_watched(
    more: list[str], tmp_path: Path, compiled: Compiled, watched: Watched
) -> None:
    if os.geteuid() != 0:
        pytest.skip("chroot(2) needs root")
    result = watched(compiled("restricted"), "root", str(tmp_path), *more)
    assert result.status == 0, result.output
    assert result.report["coverage"]["orders"] == 1, result.output


def test_a_process_that_refuses_system_calls_is_not_ended(
    compiled: Compiled, watched: Watched
) -> None:
    program = compiled("restricted")
    result = watched(program, "filter", "/")
    assert result.report["coverage"]["orders"] == 1, result.output
    assert "seccomp" in told(result)
    in_child = watched(program, "filter", "/", "fork")
    assert in_child.status == exits.NOTHING_COVERED, in_child.output
    assert "seccomp" in in_child.output


def test_a_question_for_filters_of_system_calls_restricts_nothing(
    compiled: Compiled, watched: Watched
) -> None:
    result = watched(compiled("restricted"), "question", "/", "fork")
    assert result.report["coverage"]["orders"] == 1, result.output
    assert "seccomp" not in result.output
