"""What was not covered is found out and told: nothing passes that was not looked at."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.locks.conftest import COMPILER, Result, compile_cpp
from vespiary.prove.locks.binaries import inspect

SOURCES = Path(__file__).parent / "uncovered"
UNCOVERED = 124
RUST_OPTIONS = ("--edition=2021", "-C", "strip=symbols")


@pytest.fixture(scope="session")
def executes(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    folder = tmp_path_factory.mktemp("uncovered")

    def build(name: str, *options: str) -> Path:
        target = folder / "-".join([name, *options])
        words = ["-O1", "-pthread", *options, str(SOURCES / f"{name}.c"), "-o", str(target)]
        subprocess.run([COMPILER, *words], check=True)
        return target

    return build


def gaps(result: Result) -> dict[tuple[str, str], dict[str, Any]]:
    """The gaps of a report, by kind and file name."""
    return {(gap["kind"], Path(gap["what"]).name): gap for gap in result.report["coverage"]["gaps"]}


def test_a_static_program_is_reported_and_does_not_pass(
    compiled: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    program = compiled("two_orders", "-static")
    result = watched(program)
    assert result.status == UNCOVERED, result.output
    assert "statically linked" in gaps(result)["process", program.name]["why"]
    assert f"not covered: {program}: not watched: statically linked" in result.output


def test_a_rust_programs_own_mutexes_are_reported_even_when_it_is_stripped(
    tmp_path: Path, watched: Callable[..., Result]
) -> None:
    rustc = shutil.which("rustc")
    assert rustc, "rustc is missing, which builds this project"
    program = tmp_path / "rust_mutex"
    words = [rustc, *RUST_OPTIONS, str(SOURCES / "rust_mutex.rs"), "-o", str(program)]
    subprocess.run(words, check=True)
    result = watched(program)
    assert result.status == UNCOVERED, result.output
    assert "Rust's standard library" in gaps(result)["code", "rust_mutex"]["why"]
    assert result.report["coverage"]["lockless"] == {"rust_mutex": 1}


def test_waits_on_atomics_of_cpp_are_reported_beside_mutexes(
    tmp_path: Path, watched: Callable[..., Result]
) -> None:
    result = watched(compile_cpp(SOURCES / "atomic_waits.cc", tmp_path, "-std=c++20"))
    assert result.status == 0, result.output
    assert "C++20" in gaps(result)["code", "atomic_waits"]["why"]
    assert "0 findings in what was covered" in result.output
    # The header alone is not a use.
    plain = tmp_path / "plain.cc"
    plain.write_text(
        "#include <mutex>\n#include <semaphore>\n"
        "std::mutex one;\nint main() { one.lock(); one.unlock(); }\n"
    )
    assert "C++20" not in watched(compile_cpp(plain, tmp_path, "-std=c++20")).output


def test_a_go_program_is_reported_and_does_not_pass(
    tmp_path: Path, watched: Callable[..., Result]
) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("no Go toolchain on this machine")
    program = tmp_path / "go_mutex"
    source = SOURCES / "go_mutex.go"
    subprocess.run([go, "build", "-o", str(program), str(source)], check=True, cwd=tmp_path)
    result = watched(program)
    assert result.status == UNCOVERED, result.output
    assert "Go" in gaps(result)["process", "go_mutex"]["why"]


def test_every_way_of_executing_a_program_that_is_not_watched_is_reported(
    executes: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    static = executes("counts_words", "-static")
    result = watched(executes("executes"), static)
    assert result.status == 0, result.output
    # Nine functions of `exec`, and three times `posix_spawn`; what fails is not a gap.
    found = gaps(result)
    assert found["process", static.name]["processes"] == 12
    assert len(found) == 1, result.output
    watched_too = executes("counts_words")
    result = watched(executes("executes"), watched_too)
    assert result.status == 0, result.output
    # Three of them give no environment; `execle`'s cannot be looked at beforehand.
    whys = {gap["why"].partition(":")[0]: gap["processes"] for gap in gaps_list(result)}
    assert whys == {
        "started with its own environment, without LD_PRELOAD or VESPIARY_LOCKS": 2,
        "the library was not loaded": 1,
    }
    assert result.report["coverage"]["lockless"] == {watched_too.name: 9}


def gaps_list(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = result.report["coverage"]["gaps"]
    return found


def test_what_a_python_program_hides_and_starts_is_reported(
    executes: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    parent = executes("executes", "-static")
    result = watched(sys.executable, SOURCES / "blind_spots.py", shutil.which("true"), parent)
    assert result.status == 0, result.output
    told = "\n".join(result.report["coverage"]["notes"])
    assert "queue.SimpleQueue" in told
    assert "of several interpreters" in told
    assert "buffered files" in told
    assert "the locks of trio's tasks" in told
    assert "anyio" not in told
    # It executes itself: the child is found by following the tree of processes.
    assert gaps(result)["process", parent.name]["processes"] == 2
    stripped = [gap for gap in gaps_list(result) if "its own environment" in gap["why"]]
    assert [Path(gap["what"]).name for gap in stripped] == [Path(sys.executable).name]
    assert result.report["coverage"]["lockless"]["true"] == 3
    assert "no-such-program" not in result.output


def test_a_python_program_that_hides_nothing_is_not_blamed(watched: Callable[..., Result]) -> None:
    script = "import queue, threading; queue.Queue().put(1); threading.Lock().acquire()"
    result = watched(sys.executable, "-c", script)
    assert result.status == 0, result.output
    told = "\n".join(result.report["coverage"]["notes"])
    assert "SimpleQueue" not in told
    assert "interpreters" not in told
    assert "watched are the locks of CPython" not in told
    assert "not watched" not in told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_process_behind_chroot_that_cannot_make_a_record_is_reported(
    tmp_path: Path, watched: Callable[..., Result]
) -> None:
    script = (
        "import os, sys, threading, time\n"
        "lock = threading.Lock()\n"
        "with lock: os.chroot(sys.argv[1])\n"
        "os.closerange(3, 1024)\n"  # The folder of the records is open until here.
        "child = os.fork()\n"
        "if child == 0:\n"
        "    with lock: time.sleep(1)\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
    )
    result = watched(sys.executable, "-c", script, tmp_path)
    assert result.status == 0, result.output
    (gap,) = [gap for gap in gaps_list(result) if gap["kind"] == "process"]
    assert "after chroot" in gap["why"]


def test_files_say_what_they_are(tmp_path: Path) -> None:
    own = inspect(str(Path(sys.executable).resolve()))
    assert (own.bits, own.is_go, own.is_privileged) == (64, False, False)
    assert "ld-linux" in own.interpreter
    foreign = bytearray(Path("/bin/true").read_bytes())
    foreign[18:20] = (40).to_bytes(2, "little")
    path = tmp_path / "foreign"
    path.write_bytes(foreign)
    path.chmod(0o4755)
    assert inspect(str(path)).machine == "arm"
    assert inspect(str(path)).is_privileged
    script = tmp_path / "script"
    script.write_text(f"#!{path} -x\n")
    assert inspect(str(script)).path == str(path)
    path = tmp_path / "short"
    path.write_bytes(b"\x7fELF\x02\x01")
    assert inspect(str(path)).machine == ""
    assert inspect(str(tmp_path / "missing")).machine == ""


def test_semaphores_of_threading_are_reported_where_a_program_uses_them(
    watched: Callable[..., Result],
) -> None:
    limit = "import threading; s = threading.BoundedSemaphore(2)\nwith s: pass"
    given = "import threading as t; s = t.Semaphore(1); s.acquire()\nx = t.Thread(target=s.release)"
    given += "; x.start(); x.join()"
    lock = "import threading; s = threading.BoundedSemaphore(1)\nwith s: pass"
    executor = "from concurrent.futures import *; ThreadPoolExecutor(1).submit(int).result()"
    for script, is_told in ((limit, True), (given, True), (lock, False), (executor, False)):
        result = watched(sys.executable, "-c", script)
        assert result.status == 0, result.output
        assert ("threading's semaphores" in result.output) == is_told, result.output
        # Where something was not covered, the summary does not say that there is nothing.
        assert "0 findings in what was covered" in result.output
