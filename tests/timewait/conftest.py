"""Network namespaces for tests, so that no port and no counter of the machine is touched."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from vespiary.prove.timewait.events import Unavailable
from vespiary.prove.timewait.tracepoint import Tracepoint

CHECKOUT = Path(__file__).resolve().parents[2]
SECONDS = 100

Isolated = Callable[[Sequence[str]], list[str]]
"""Makes of a command one that runs in a new network namespace."""


@pytest.fixture(scope="session")
def isolated() -> Isolated:
    """Runs commands in a network namespace of their own."""
    options = ["--net"] if os.geteuid() == 0 else ["--map-root-user", "--net"]
    unshare = shutil.which("unshare")
    done = None
    if unshare is not None:
        command = [unshare, *options, "true"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if unshare is None or done is None or done.returncode:
        reason = done.stderr.strip() if done is not None else "unshare is not installed"
        pytest.skip(f"no network namespace can be made here: {reason}")
    return lambda command: [unshare, *options, *command]


@pytest.fixture(scope="session")
def scene(isolated: Isolated) -> Callable[[str], dict[str, Any]]:
    """Runs a scene of `traffic` in a namespace of its own, once, and returns what it printed."""
    known: dict[str, dict[str, Any]] = {}

    def run(name: str) -> dict[str, Any]:
        if name not in known:
            command = isolated([sys.executable, "-m", "tests.timewait.traffic", name])
            done = subprocess.run(
                command, cwd=CHECKOUT, capture_output=True, text=True, timeout=SECONDS, check=False
            )
            assert done.returncode == 0, done.stderr
            known[name] = json.loads(done.stdout)
        return known[name]

    return run


@pytest.fixture(scope="session")
def tracepoint_allowed() -> None:
    """Skip where the kernel's tracepoints may not be read."""
    try:
        Tracepoint().close()
    except Unavailable as error:
        pytest.skip(f"the tracepoint cannot be read here: {error}")
