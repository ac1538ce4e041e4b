"""A run of `prove` that is killed, or whose terminal closes, leaves what it should."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.waiting import wait_until

from .test_fooling import write_project

HANGS = """
import subprocess, time
import pytest
from vespiary_trace import requires

@pytest.mark.requirement("fool/1/1")
def test_it():
    if not requires("fool/1/1", True):
        subprocess.Popen(["sleep", "3600"], start_new_session=True)
        time.sleep(3600)
"""


def run(folder: Path, *, ignores_hangups: bool) -> "subprocess.Popen[str]":
    write_project(folder, {"it": HANGS})
    temporary = folder / "tmp"
    temporary.mkdir()
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TMPDIR": str(temporary)}
    handler = "SIG_IGN" if ignores_hangups else "SIG_DFL"
    start = (
        f"import os, signal, sys; signal.signal(signal.SIGHUP, signal.{handler});"
        "os.execv(sys.executable, [sys.executable, '-m', 'vespiary', *sys.argv[1:]])"
    )
    patience = "3s" if ignores_hangups else "10min"
    process = subprocess.Popen(
        [sys.executable, "-c", start, "trace", "prove", "--jobs=1", f"--patience={patience}"],
        cwd=folder,
        env={**environment, "VESPIARY_TRACE": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("disabling"):
            break
    return process


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_ended_leaves_no_process_and_no_folder(
    tmp_path: Path, number: signal.Signals
) -> None:
    with run(tmp_path, ignores_hangups=False) as process:
        everyone = psutil.Process(process.pid)
        while not any(child.name() == "sleep" for child in everyone.children(recursive=True)):
            pass
        children = everyone.children(recursive=True)
        process.send_signal(number)
    assert psutil.wait_procs(children, timeout=60)[1] == []
    assert list((tmp_path / "tmp").iterdir()) == []


BEGINS = """
import os, signal, sys
from pathlib import Path
from vespiary.prove.trace.proving import run
from vespiary.prove.trace.settings import read_settings

def end(*_):
    os.kill(os.getpid(), int(sys.argv[2]))

setattr(run, sys.argv[1], end)
run.Runner(read_settings(Path("trace.toml")), 1, print)
"""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("step", ["watch", "Bench"])
def test_a_run_that_is_ended_as_it_begins_leaves_no_folder(
    tmp_path: Path, step: str, number: signal.Signals
) -> None:
    write_project(tmp_path, {"it": HANGS})
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", BEGINS, step, str(int(number))],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    while list(temporary.iterdir()):
        time.sleep(0.02)


@pytest.mark.timeout(120)
def test_a_run_that_ignores_the_end_of_its_terminal_continues(tmp_path: Path) -> None:
    with run(tmp_path, ignores_hangups=True) as process:
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        process.stderr.read()
    assert process.returncode in (0, 1)
    assert (tmp_path / ".cache" / "trace" / "evidence.json").exists()


def build_of(process: int) -> list[psutil.Process]:
    """The processes of the build, once its compiler runs; else none."""
    children = psutil.Process(process).children(recursive=True)
    return children if any(child.name() == "sleep" for child in children) else []


CARGO = """#!/bin/sh
if [ "$1" = locate-project ]; then echo "$PWD/Cargo.toml"; exit; fi
sleep 3600 &
echo begun >&2
wait
"""
"""A build that does not end, and whose compiler is a process of its own."""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_while_it_builds_ends_the_build(
    tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "cargo").write_text(CARGO)
    (tmp_path / "cargo").chmod(0o755)
    (tmp_path / "lib.rs").write_text('fn it() { claims!("a/1/1"); }\n')
    (tmp_path / "trace.toml").write_text(
        '[sources]\nrust = ["*.rs"]\n[run]\ncargo = ["--features=trace"]\n'
    )
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "a.toml").write_text('[[requirement]]\nid = "a/1/1"\n')
    with subprocess.Popen(
        [sys.executable, "-m", "vespiary", "trace", "prove"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "VESPIARY_TRACE": ""},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line == "begun\n":
                break
        # A child of the shell is called "sleep" only once it has begun the program.
        children = wait_until(lambda: build_of(process.pid))
        process.send_signal(number)
    assert psutil.wait_procs(children, timeout=60)[1] == []
