"""Waits for locks whose holder does not run either: named with what the holder does."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.locks.conftest import PROGRAMS, Result
from vespiary.prove.locks.activity import activity, runs
from vespiary.prove.locks.stalls import Quiet
from vespiary.prove.locks.target import task

SHORT = ("--stall", "500ms")


def test_a_holder_that_sleeps_is_named_and_fails_no_build(
    compiled: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    result = watched(compiled("stall"), options=SHORT)
    assert result.status == 0, result.output
    (found,) = result.findings("stall")
    assert not found["fails"]
    waits, holds = found["stacks"]
    assert waits["wanted_at"][0]["function"] == "wants"
    assert holds["held_since"][0]["function"] == "keeps"
    assert "sleeps" in holds["does"]
    assert "keeps" in [frame["function"] for frame in holds["wanted_at"]]
    assert watched(compiled("stall")).findings("stall") == []


def test_a_holder_that_waits_for_input_is_named_with_the_file(
    compiled: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    result = watched(compiled("stall_input"), options=SHORT)
    assert result.status == 0, result.output
    (found,) = result.findings("stall")
    assert "waits for input or output (read of pipe:" in found["stacks"][-1]["does"]


def test_a_holder_that_nothing_wakes_fails_the_build_and_is_reported_once(
    compiled: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    result = watched(compiled("stall_for_good"), options=SHORT)
    assert result.status == 123, result.output
    (found,) = result.findings("stall")
    assert found["fails"]
    waits, holds = found["stacks"]
    assert waits["wanted_at"][0]["function"] == "wants"
    assert holds["thread"] != waits["thread"]
    assert "waits for semaphore" in holds["does"]
    assert result.output.count("What to change") == 1


def test_a_python_holder_that_nothing_wakes_is_named_with_its_code(
    watched: Callable[..., Result],
) -> None:
    program = PROGRAMS / "python_stall_for_good.py"
    result = watched(sys.executable, program, options=SHORT)
    assert result.status == 123, result.output
    (found,) = result.findings("stall")
    assert "keeps" in [frame["function"] for frame in found["stacks"][-1]["wanted_at"]]


def test_something_is_quiet_once_it_has_stayed_the_same_for_long_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    quiet = Quiet(5.0)
    assert not quiet.lasts("wait", "first")
    now += 4.9
    assert not quiet.lasts("wait", "first")
    assert not quiet.lasts("wait", "second")
    now += 4.9
    assert not quiet.lasts("wait", "second")
    now += 0.1
    assert quiet.lasts("wait", "second")
    quiet.keep([])
    assert not quiet.lasts("wait", "second")


@pytest.mark.parametrize(
    ("code", "kind", "is_limited"),
    [
        ("time.sleep(60)", "sleep", True),
        ("sys.stdin.read()", "input", False),
        ("select.select([0], [], [])", "input", False),
        ("select.select([0], [], [], 60)", "input", True),
        ("select.epoll().poll(60)", "input", True),
        ("threading.Event().wait()", "threads", False),
        ("threading.Event().wait(60)", "threads", True),
    ],
)
def test_what_a_thread_does_is_read_from_its_system_call(
    code: str, kind: str, is_limited: bool
) -> None:
    script = f"import select, sys, threading, time; print(1, flush=True); {code}"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        deadline = time.monotonic() + 30
        while (found := activity(process.pid, task(process.pid, process.pid))).kind != kind:
            assert time.monotonic() < deadline, found
            time.sleep(0.01)
        assert found.is_limited == is_limited
        assert runs(process.pid, process.pid)
        process.kill()
