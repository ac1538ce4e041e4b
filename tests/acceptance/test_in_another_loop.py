"""Programs whose loop is not Vespiary's; all of them with VESPIARY_TEST_LOOP=asyncio or =uvloop."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.acceptance

SAMPLE = [
    "test_echoes.py",
    "test_rooms_chat.py",
    "test_work_in_flight.py",
    "test_from_other_threads.py",
]


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_programs_run_in_this_loop(kind: str) -> None:
    here = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", "epoll"]
    command += [str(here / name) for name in SAMPLE]
    done = subprocess.run(
        command,
        cwd=here.parent.parent,
        env={**os.environ, "VESPIARY_TEST_LOOP": kind},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
