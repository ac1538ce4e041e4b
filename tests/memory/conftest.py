"""Runs `vespiary memory` as a command."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from vespiary.cli.main import main
from vespiary.errors import ConfigurationError
from vespiary.prove.memory.limiters import METHODS, choose

PROGRAMS = Path(__file__).parent / "programs"
PATIENCE_SECONDS = 100.0


def possible_methods() -> list[str]:
    """How a limit can be held on this machine."""
    found = []
    for method in METHODS:
        try:
            choose(None, method).limiter.close()
        except ConfigurationError:
            continue
        found.append(method)
    return found


@pytest.fixture(params=possible_methods())
def method(request: pytest.FixtureRequest) -> str:
    """Each way of holding a limit that this machine allows; sampling is always one."""
    name: str = request.param
    return name


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "vespiary", "memory", *map(str, words)]


def memory(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def at_once(*words: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, ["memory", *map(str, words)], prog_name="vespiary")


class Recorded:
    """A run, and what it wrote with --json."""

    def __init__(self, done: Result, path: Path) -> None:
        self.code = done.exit_code
        self.stderr = done.stderr
        self.report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., Recorded]:
    """Runs the command with --json, in this process: that takes half of the time."""

    def record(*words: object) -> Recorded:
        path = tmp_path / "report.json"
        path.unlink(missing_ok=True)
        return Recorded(at_once("--json", path, *words), path)

    return record


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something is so; fails when it takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.01)


def lives(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
