"""`@pytest.mark.memory`, on test files made for it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import wait_until

PLUGIN = "vespiary.prove.memory.plugin"

MARKED = """
import os, time
import pytest

PARENT = os.environ["THE_PARENT"]

@pytest.fixture(scope="session")
def block():
    return b"x" * (20 << 20)

@pytest.mark.memory(limit="300M", slope="0")
def test_passes(block, pytestconfig):
    assert str(os.getppid()) != PARENT
    assert "VESPIARY_MEMORY_PYTEST" not in os.environ
    print("it ran")

@pytest.mark.memory(limit="120M")
@pytest.mark.parametrize("count", [200])
def test_exceeds(count):
    kept = b"x" * (count << 20)
    time.sleep(100)

@pytest.mark.memory(slope="0", method="sampling")
def test_leaks():
    kept = []
    for _ in range(300):
        kept.append(b"x" * 100_000)
        time.sleep(0.005)

@pytest.mark.memory(limit="300M")
def test_fails_by_itself():
    assert 1 + 1 == 3

@pytest.mark.memory(limit="300M")
def test_crashes():
    os._exit(3)
"""

WAITS = """
import os, subprocess, time
import pytest

@pytest.mark.memory(limit="300M")
def test_waits():
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    with open("pids", "a") as file:
        print(os.getpid(), child.pid, file=file)
    time.sleep(600)

def test_that_comes_later():
    open("later", "w").close()
"""

SLOW = """
import time
import pytest

@pytest.mark.timeout(5)
@pytest.mark.memory(limit="300M")
def test_takes_too_long():
    time.sleep(600)

def test_that_comes_later(): ...
"""

IMPOSSIBLE = """
import pytest

@pytest.mark.memory(method="systemd")
def test_needs_a_method(): ...

def test_that_comes_later(): ...
"""

WRONG = """
import pytest

@pytest.mark.memory(limt="300M")
def test_names_no_argument(): ...

@pytest.mark.memory("300M")
def test_has_no_name(): ...

@pytest.mark.memory(limit="much")
def test_has_no_size(): ...

@pytest.mark.memory(method="cgroup-v3")
def test_has_no_method(): ...
"""


def start(folder: Path, text: str, *options: str, **variables: str) -> subprocess.Popen[str]:
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    command = [sys.executable, "-m", "pytest", "-rA", "-p", PLUGIN, *options, "test_it.py"]
    # Without the plugins that this environment has, a child starts in half the time.
    settings = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "200"}
    environment = {**os.environ, **settings, **variables}
    environment["THE_PARENT"] = "the process that starts pytest is not the one of the test"
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(
    folder: Path, text: str, *options: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    with start(folder, text, *options, **variables) as process:
        output, _ = process.communicate(timeout=55)
    return subprocess.CompletedProcess(process.args, process.returncode, output, "")


def test_a_marked_test_runs_in_a_child_and_fails_for_the_right_reason(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    done = run(tmp_path, MARKED, f"--junitxml={report}", "-k", "test")
    lines = done.stdout.splitlines()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "PASSED test_it.py::test_passes" in lines
    assert "it ran" in lines
    failed = {
        line.split("::")[1].partition(" - ")[0]: line.partition(" - ")[2]
        for line in lines
        if line.startswith("FAILED ")
    }
    assert failed.keys() == {
        "test_exceeds[200]",
        "test_leaks",
        "test_fails_by_itself",
        "test_crashes",
    }
    assert failed["test_exceeds[200]"].startswith("vespiary memory: LIMIT EXCEEDED")
    assert failed["test_leaks"].startswith("vespiary memory: MORE THAN EXPECTED: slope")
    assert failed["test_fails_by_itself"].startswith("assert (1 + 1) == 3")
    assert failed["test_crashes"].startswith("vespiary memory: the program failed with exit code 3")
    assert report.read_text().count("<testcase ") == 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_pytest_ends_it_with_all_that_a_marked_test_has_started(
    tmp_path: Path, number: signal.Signals
) -> None:
    pids = tmp_path / "pids"
    with start(tmp_path, WAITS) as process:
        wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"))
        started = [Path("/proc", pid) for pid in pids.read_text().split()]
        assert len(started) == 2
        process.send_signal(number)
        output, _ = process.communicate(timeout=55)
    assert process.returncode == (2 if number == signal.SIGINT else -number), output
    wait_until(lambda: not any(folder.exists() for folder in started))
    assert not (tmp_path / "later").exists()


def test_a_marked_test_that_exceeds_its_timeout_fails_where_it_was_and_the_next_one_runs(
    tmp_path: Path,
) -> None:
    done = run(tmp_path, SLOW, "-p", "pytest_timeout")
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    assert "Failed: Timeout (>5.0s) from pytest-timeout." in done.stdout
    assert "time.sleep(600)" in done.stdout


def test_a_method_that_is_not_possible_fails_the_test_and_the_next_one_runs(tmp_path: Path) -> None:
    # Without PATH no program of systemd is found.
    done = run(tmp_path, IMPOSSIBLE, PATH=str(tmp_path))
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    assert "@pytest.mark.memory: systemd is not possible here" in done.stdout


def test_a_mistake_in_the_mark_fails_the_test_with_a_suggestion(tmp_path: Path) -> None:
    done = run(tmp_path, WRONG)
    assert done.returncode == 1
    assert "there is no 'limt': did you mean 'limit'?" in done.stdout
    assert "name its arguments: limit='300M'" in done.stdout
    assert "'much' is not a size such as 1000, 64KiB or 2MiB" in done.stdout
    assert "'cgroup-v3' is not a method: did you mean 'cgroup-v" in done.stdout
    assert "4 failed" in done.stdout
