"""Wherever a program's processes come from, they are watched, and the program does not notice."""

import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.locks.conftest import Result

ENVIRONMENTS = Path(__file__).parent / "environments"
INVERSION = ENVIRONMENTS / "inversion.py"
FIND_PYTHON = Path(__file__).parents[2] / "tools" / "find_python.sh"
LOCKS = [sys.executable, "-m", "vespiary", "locks"]

CHILDREN = {
    *(f"in_a_child_with_{option}" for option in "IESO"),
    "in_a_chain_of_execs",
    *(f"in_a_process_by_{method}" for method in ("fork", "spawn", "forkserver")),
    *(f"in_a_pool_by_{method}" for method in ("fork", "spawn", "forkserver")),
    "in_a_first_worker",
    "in_a_second_worker",
    "in_a_forked_child",
    "in_a_child_with_no_environment",
    "in_a_daemon",
}


def ask(what: str) -> str:
    done = subprocess.run([FIND_PYTHON, what], stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip()


PYTHONS = {version: ask(version) for version in ask("versions").split()}


@pytest.fixture(params=[version for version, path in PYTHONS.items() if path])
def python(request: pytest.FixtureRequest) -> str:
    """Each supported interpreter of this machine."""
    return PYTHONS[request.param]


def functions(finding: dict[str, Any]) -> set[str]:
    """The functions in a finding's stacks."""
    return {frame["function"] for stack in finding["stacks"] for frame in stack["wanted_at"]}


def found_in(result: Result) -> set[str]:
    """The functions in which inversions were found, of those that are named for it."""
    names = {name for finding in result.findings("inversion") for name in functions(finding)}
    return {name for name in names if name.startswith("in_a_")}


def test_children_are_watched_however_they_come_to_be(
    python: str, watched: Callable[..., Result]
) -> None:
    result = watched(python, ENVIRONMENTS / "children.py")
    assert result.status == 120, result.output
    assert found_in(result) == CHILDREN


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command under the detector, in a session of its own, and ends it at last."""
    processes: list[subprocess.Popen[str]] = []

    def start(*command: str | Path, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*LOCKS, "--", *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        with process:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


HANDLER = """
import signal, sys, threading, time

def told(number, frame):
    print(signal.Signals(number).name, flush=True)
    if number != signal.SIGUSR1:
        sys.exit(3)

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, told)
threading.Lock().acquire()
print("ready", flush=True)
while True:
    time.sleep(10)
"""


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_signals_are_passed_on_to_the_program_and_its_exit_code_comes_back(
    started: Callable[..., subprocess.Popen[str]],
) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        process = started(sys.executable, "-c", HANDLER)
        assert line(process) == "ready"
        process.send_signal(signal.SIGUSR1)
        assert line(process) == "SIGUSR1"
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)
        assert output.split() == [number.name]
        assert process.returncode == 3, errors


def test_a_program_that_a_signal_ends_is_reported_as_a_shell_does(
    started: Callable[..., subprocess.Popen[str]],
) -> None:
    text = "import threading; threading.Lock().acquire(); print('ready', flush=True); input()"
    process = started(sys.executable, "-c", text)
    assert line(process) == "ready"
    process.terminate()
    assert process.wait(20) == 128 + signal.SIGTERM


def test_no_further_run_begins_after_a_signal_that_ends_programs(
    started: Callable[..., subprocess.Popen[str]],
) -> None:
    process = subprocess.Popen(
        [*LOCKS, "--repeat", "50", "--", sys.executable, "-c", HANDLER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert line(process) == "ready"
        process.terminate()
        output, errors = process.communicate(timeout=20)
    assert output.split() == ["SIGTERM"]
    assert "run 1 of 50" in errors
    assert "run 2 of 50" not in errors


def test_ctrl_c_reaches_the_program_once_and_stdin_is_its_own() -> None:
    # A terminal's line discipline sends the signal to the whole foreground group.
    text = (
        "import signal, threading\n"
        "count = 0\n"
        "def told(number, frame):\n"
        "    global count\n"
        "    count += 1\n"
        "signal.signal(signal.SIGINT, told)\n"
        "threading.Lock().acquire()\n"
        "print('name?', flush=True)\n"
        "name = input()\n"
        "print(f'{name} was interrupted {count} time(s)', flush=True)\n"
    )
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [*LOCKS, "--", sys.executable, "-c", text])
    seen = ""

    def until(words: str) -> None:
        nonlocal seen
        while words not in seen:
            seen += os.read(terminal, 1000).decode()

    until("name?")
    os.write(terminal, b"\x03")
    time.sleep(0.3)
    os.write(terminal, b"Ada\n")
    until("Ada was interrupted")
    until("0 findings")
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert "Ada was interrupted 1 time(s)" in seen
    assert os.waitstatus_to_exitcode(status) == 0


def test_descriptors_that_were_handed_down_stay_open(tmp_path: Path) -> None:
    text = "import os, threading; threading.Lock().acquire(); os.write(9, b'here')"
    script = f'exec 9>"{tmp_path}/out"; exec "$@"'
    command = ["bash", "-c", script, "bash", *LOCKS, "--", sys.executable, "-c", text]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_text() == "here"


def test_a_process_that_outlives_the_command_is_watched_for_a_while_and_told(
    tmp_path: Path,
) -> None:
    text = (
        "import os, sys, threading, time\n"
        "if os.fork():\n"
        "    os._exit(0)\n"
        "os.setsid()\n"
        "threading.Lock().acquire()\n"
        "sys.stdout.close(), sys.stderr.close()\n"
        "for _ in range(1200):\n"
        "    time.sleep(0.1)\n"
        "    os.path.exists(sys.argv[1]) and os._exit(0)\n"
    )
    stop = tmp_path / "stop"
    words = [*LOCKS, "--linger", "500ms", "--", sys.executable, "-c", text, str(stop)]
    with (tmp_path / "errors").open("w+") as errors:
        done = subprocess.run(
            words, stdout=subprocess.DEVNULL, stderr=errors, timeout=60, check=False
        )
        stop.touch()
        errors.seek(0)
        said = errors.read()
    assert done.returncode == 0, said
    assert "outlived the command" in said


@pytest.fixture
def for_all() -> Iterator[Path]:
    """A folder that every user can come to, with the program in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy(INVERSION, folder)
        yield folder


AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
ONLY_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@ONLY_ROOT
def test_a_server_that_gives_up_its_rights_is_watched_still(
    watched: Callable[..., Result], tmp_path: Path
) -> None:
    script = tmp_path / "drops.py"
    text = "import os\nos.setgroups([])\nos.setgid(65534)\nos.setuid(65534)\n"
    script.write_text(text + INVERSION.read_text())
    result = watched("/usr/bin/python3", script, "in_a_process_of_nobody")
    assert result.status == 120, result.output
    assert found_in(result) == {"in_a_process_of_nobody"}


@ONLY_ROOT
def test_a_program_of_another_user_is_watched_and_a_privileged_one_below_it_runs_as_usual(
    watched: Callable[..., Result], for_all: Path
) -> None:
    script = 'su --version && exec /usr/bin/python3 "$0" in_a_program_of_nobody'
    result = watched(*AS_NOBODY, "sh", "-c", script, for_all / "inversion.py")
    assert result.status == 120, result.output
    assert found_in(result) == {"in_a_program_of_nobody"}
    assert "ld.so" not in result.output


def test_a_static_child_runs_as_usual(
    compiled: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    child = compiled("one_order", "-static")
    script = f"{child} && exec {sys.executable} {INVERSION} in_a_program_behind_it"
    result = watched("sh", "-c", script)
    assert result.status == 120, result.output
    assert found_in(result) == {"in_a_program_behind_it"}
