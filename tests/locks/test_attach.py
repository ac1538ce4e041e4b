"""Looking at processes that were not prepared."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.locks.conftest import COMPILER, PROGRAMS
from vespiary.errors import ConfigurationError
from vespiary.prove.locks.attach import Snapshot, snapshot
from vespiary.prove.locks.findings import Finding
from vespiary.prove.locks.outside import py_spy
from vespiary.prove.locks.preload import environment
from vespiary.prove.locks.snapshots import as_text
from vespiary.prove.locks.watchdog import watch

SOURCES = Path(__file__).parent / "attached"


@contextmanager
def running(
    come: Callable[[Snapshot], bool], *command: str | Path, folder: Path | None = None
) -> Iterator[int]:
    """A process that has come to where a look at it says so; in a folder it is watched."""
    variables = environment(folder, None) if folder is not None else None
    process = subprocess.Popen(list(command), env=variables, start_new_session=True)
    try:
        deadline = time.monotonic() + 10
        while not come(snapshot(process.pid)):
            assert time.monotonic() < deadline, as_text(snapshot(process.pid))
            time.sleep(0.01)
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def stuck(seen: Snapshot) -> bool:
    return bool(seen.circle)


def attach(*words: str | int | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vespiary", "locks", "attach", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    folder = tmp_path_factory.mktemp("attached")

    def build(name: str, *options: str) -> Path:
        target = folder / "-".join([name, *options])
        if not target.exists():
            words = ["-O1", "-g", "-pthread", *options, str(SOURCES / f"{name}.c")]
            subprocess.run([COMPILER, *words, "-o", str(target)], check=True)
        return target

    return build


@pytest.mark.parametrize("options", [(), ("-static",)], ids=["dynamic", "static"])
def test_the_circle_of_a_running_process_is_found_in_milliseconds(
    options: tuple[str, ...], compiled: Callable[..., Path]
) -> None:
    with running(stuck, compiled("deadlock", *options), "5") as pid:
        seen = min((snapshot(pid) for _ in range(3)), key=lambda each: each.seconds)
        assert len(seen.circle) == 5
        assert [wait.owners for wait in seen.circle[:-1]] == [
            (wait.tid,) for wait in seen.circle[1:]
        ]
        assert seen.seconds < 0.05
        assert [lock.name for lock in seen.findings[0].locks] == [each.lock for each in seen.circle]
        assert sum(each.lock in ("mutex ring", "mutex ring+40") for each in seen.circle) == 2
        for wait in seen.circle:
            assert "take_next" in [frame.function for frame in wait.stack]


def test_the_command_tells_the_circle_and_exits_with_its_code(
    compiled: Callable[..., Path], tmp_path: Path
) -> None:
    report = tmp_path / "attached.json"
    with running(stuck, compiled("deadlock"), "2") as pid:
        done = attach(pid, "--json", report)
        watched = attach(pid, "--watch", "1s")
    assert done.returncode == watched.returncode == 121
    assert re.search(r"DEADLOCK \w+: 2 threads wait for each other", done.stdout)
    assert "take_next" in done.stdout
    assert watched.stdout.count("DEADLOCK") == 1
    told = json.loads(report.read_text())
    assert len(told["circle"]) == 2
    (finding,) = told["findings"]
    assert finding["kind"] == "deadlock"
    assert len(finding["threads"]) == 2


@pytest.mark.parametrize("options", [(), ("-static",)], ids=["dynamic", "static"])
def test_each_kind_of_wait_is_reported_for_what_it_is(
    options: tuple[str, ...], built: Callable[..., Path]
) -> None:
    def come(seen: Snapshot) -> bool:
        return len(seen.waiting) == 10

    with running(come, built("kinds", *options)) as pid:
        seen = snapshot(pid)
        text = as_text(seen)
    assert not seen.circle
    assert not seen.findings
    held = {each.kind for each in seen.waiting if each.owners == (pid,)}
    assert held == {
        "robust mutex",
        "priority-inheriting mutex",
        "recursive mutex",
        "error-checking mutex",
        "mutex",
        "read-write lock",
    }
    by_kind = {each.kind: each for each in seen.waiting if pid not in each.owners}
    assert set(by_kind) - {"futex"} == {"condition", "read-write lock", "end of a thread"} | (
        {"semaphore"} if "semaphore" in by_kind else set()
    )
    assert by_kind["end of a thread"].owners == (by_kind["condition"].tid,)
    assert [each.kind for each in seen.waiting if each.is_limited] == ["mutex"]
    assert "waits for a limited time for the mutex" in text
    assert "a lock whose owner is not recorded (read-write lock" in text
    assert "a read-write lock counts its readers" in text
    assert "in_semaphore" in text


def test_a_lock_whose_owner_has_ended_is_a_deadlock(built: Callable[..., Path]) -> None:
    with running(lambda seen: len(seen.waiting) == 11, built("kinds"), "orphan") as pid:
        seen = snapshot(pid)
        assert attach(pid).returncode == 121
    (finding,) = seen.findings
    assert finding.title == "a thread waits for a lock whose owner has ended"
    assert [lock.name for lock in finding.locks] == ["mutex orphan"]
    assert "whose owner, thread" in as_text(seen)


def test_a_circle_of_adaptive_mutexes_is_found(compiled: Callable[..., Path]) -> None:
    with running(stuck, compiled("adaptive_deadlock")) as pid:
        assert len(snapshot(pid).circle) == 2


@pytest.mark.parametrize("options", [(), ("-static",)], ids=["dynamic", "static"])
def test_the_c_librarys_own_locks_have_no_owner_and_make_no_deadlock(
    options: tuple[str, ...], built: Callable[..., Path]
) -> None:
    def come(seen: Snapshot) -> bool:
        return any(each.kind == "lock of the C library" for each in seen.waiting)

    with running(come, built("inner_locks", *options)) as pid:
        for _ in range(50):
            seen = snapshot(pid)
            assert not seen.findings, as_text(seen)
            assert not any(each.owners or each.gone for each in seen.waiting), as_text(seen)


@pytest.mark.parametrize(
    ("words", "kinds"),
    [(("join",), {"mutex", "end of a thread"}), ((), {"mutex between processes"})],
    ids=["joining", "two processes"],
)
def test_a_circle_may_go_through_a_join_or_another_process(
    words: tuple[str, ...], kinds: set[str], built: Callable[..., Path]
) -> None:
    with running(stuck, built("join_and_processes"), *words) as pid:
        seen = snapshot(pid)
        assert len(seen.circle) == 2
        assert {each.kind for each in seen.circle} >= kinds - {"mutex between processes"}
        assert len({each.process for each in seen.circle}) == (1 if words else 2)


def test_of_a_process_under_the_detector_its_record_tells_who_holds_python_locks(
    tmp_path: Path,
) -> None:
    def come(seen: Snapshot) -> bool:
        return bool(seen.findings)

    program = PROGRAMS / "python_deadlock.py"
    with running(come, sys.executable, program, "3", folder=tmp_path) as pid:
        seen = snapshot(pid)
        unprepared = snapshot(pid, is_watched=False)
    assert seen.is_recorded
    waiting = {each.tid: each for each in seen.waiting if each.owners}
    kinds = sorted(each.kind for each in waiting.values())
    assert kinds == ["Python lock"] * 3 + ["end of a thread"]
    assert all(each.owners[0] in waiting for each in waiting.values())
    (finding,) = seen.findings
    assert finding.title == "3 threads wait for each other"
    assert {lock.name for lock in finding.locks} < {each.lock for each in seen.waiting}
    functions = [frame.function for frame in finding.steps[0].wanted_at]
    assert functions[:2] == ["take_next", "waits"]
    assert not unprepared.findings
    assert any("Python's locks keep no owner" in note for note in unprepared.notes)


def test_the_python_code_that_waits_is_shown_by_py_spy() -> None:
    assert py_spy(), "py-spy is missing: it is in the dependency group `test`"

    def come(seen: Snapshot) -> bool:
        return [frame.function for each in seen.waiting for frame in each.python].count("wait") > 0

    script = "import threading\ndef wait(): threading.Lock().__class__ and lock.acquire()\n"
    script += "lock = threading.Lock(); lock.acquire(); wait()"
    with running(come, sys.executable, "-c", script) as pid:
        text = as_text(snapshot(pid))
    assert "waits for a lock whose owner is not recorded (Python lock at" in text
    assert "at wait (<string>:2) < <module> (<string>:3)" in text


def test_a_process_without_a_deadlock_is_left_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        seen = snapshot(process.pid)
        assert not seen.circle
        assert process.poll() is None
        process.communicate(b"\n", timeout=10)


def test_watching_ends_when_the_process_does_and_tells_a_stall_once(
    compiled: Callable[..., Path],
) -> None:
    told: list[Finding] = []
    with subprocess.Popen([compiled("stall")]) as process:
        assert watch(process.pid, 0.05, 0.3, told.append) is None
    (finding,) = told
    assert finding.kind == "stall"
    assert "wants" in [frame.function for frame in finding.steps[0].wanted_at]


def refusal(pid: int) -> str:
    with pytest.raises(ConfigurationError) as caught:
        snapshot(pid)
    return str(caught.value)


def test_what_cannot_be_looked_at_is_refused_with_the_reason() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        # Waited for, but not taken notice of: it stays a zombie.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert "has ended: it is a zombie" in refusal(process.pid)
    assert f"no process {process.pid}" in refusal(process.pid)
    assert "no process" in attach(process.pid).stderr
    script = "import threading, time; threading.Thread(target=time.sleep, args=(9,)).start()"
    with subprocess.Popen([sys.executable, "-c", script]) as process:
        deadline = time.monotonic() + 10
        while len(found := list(Path(f"/proc/{process.pid}/task").iterdir())) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        thread = next(int(task.name) for task in found if int(task.name) != process.pid)
        assert f"is a thread: pass its process, {process.pid}" in refusal(thread)
        process.kill()


def test_a_thread_of_the_kernel_has_nothing_to_look_at() -> None:
    if not Path("/proc/2/comm").exists() or Path("/proc/2/comm").read_text() != "kthreadd\n":
        pytest.skip("the kernel's threads are not visible here")
    assert "kernel thread" in refusal(2)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_process_is_refused_with_what_to_do() -> None:
    script = (
        "import os, sys, vespiary.prove.locks.attach as attach\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "try: attach.snapshot(int(sys.argv[1]))\n"
        "except attach.ConfigurationError as error: print(error)\n"
    )
    command = [sys.executable, "-c", script, str(os.getpid())]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert "belongs to user 0, and this is user 65534" in done.stdout
    assert "as root (sudo)" in done.stdout


# An ELF file for 32-bit x86: pause(2) for ever.
PAUSES = (
    b"\x7fELF\x01\x01\x01" + bytes(9) + bytes.fromhex("02000300010000005480040834000000")
    + bytes(8) + bytes.fromhex("3400200001000000000000000100000000000000")
    + bytes.fromhex("00800408008004085d0000005d0000000500000000100000")
    + bytes.fromhex("b81d000000cd80ebf7")
)  # fmt: skip


def test_a_32_bit_program_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "pauses"
    program.write_bytes(PAUSES)
    program.chmod(0o755)
    try:
        process = subprocess.Popen([program])
    except OSError:
        pytest.skip("this kernel runs no 32-bit programs")
    with process:
        try:
            assert "is a 32-bit program" in refusal(process.pid)
        finally:
            process.kill()
