"""Looking at processes that were not prepared."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vespiary.errors import ConfigurationError
from vespiary.prove.locks.attach import snapshot


@contextmanager
def stuck(*command: str | Path) -> Iterator[int]:
    """A process that has come to its deadlock."""
    process = subprocess.Popen(list(command))
    try:
        deadline = time.monotonic() + 10
        while not snapshot(process.pid).circle:
            assert time.monotonic() < deadline, "it did not deadlock"
            time.sleep(0.01)
        yield process.pid
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("options", [(), ("-static",)], ids=["dynamic", "static"])
def test_the_circle_of_a_running_process_is_found_in_milliseconds(
    options: tuple[str, ...], compiled: Callable[..., Path]
) -> None:
    with stuck(compiled("deadlock", *options), "5") as pid:
        seen = min((snapshot(pid) for _ in range(3)), key=lambda each: each.seconds)
        assert len(seen.circle) == 5
        assert [wait.owner for wait in seen.circle[:-1]] == [wait.tid for wait in seen.circle[1:]]
        assert seen.seconds < 0.05
        for wait in seen.circle:
            assert "take_next" in [frame.function for frame in wait.stack]


def test_the_command_tells_the_circle_and_exits_with_its_code(
    compiled: Callable[..., Path],
) -> None:
    with stuck(compiled("deadlock"), "2") as pid:
        command = [sys.executable, "-m", "vespiary", "locks", "attach", str(pid)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 121
    assert re.search(r"DEADLOCK: 2 threads", done.stdout)


def test_a_process_without_a_deadlock_is_left_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        seen = snapshot(process.pid)
        assert not seen.circle
        assert process.poll() is None
        process.communicate(b"\n", timeout=10)


def test_a_process_that_is_not_there_is_said_to_be_so() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(ConfigurationError, match=f"no process {process.pid}"):
        snapshot(process.pid)
