"""`--allocations`: where a Python program allocated what it used."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.memory.conftest import memory

LEAK = """
import sys, time

def leak(kept):
    kept.append(b"x" * 1_000_000)

# Attaching takes a while on a busy machine.
began = time.monotonic()
while "memray" not in sys.modules and time.monotonic() - began < 30:
    time.sleep(0.05)
time.sleep(0.2)
kept = []
while len(kept) < 1000:
    leak(kept)
    time.sleep(0.005)
"""


def may_attach() -> str:
    """Why memray may not attach to a process here; empty if it may."""
    if sys.version_info < (3, 14) and not (shutil.which("gdb") or shutil.which("lldb")):
        return "no debugger is installed"
    done = subprocess.run(
        [sys.executable, "-c", "import memray"], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else "memray is not installed"


def test_the_function_that_allocates_is_named(tmp_path: Path) -> None:
    if why := may_attach():
        pytest.skip(why)
    script = tmp_path / "leaks.py"
    script.write_text(LEAK)
    done = memory("--limit", "120M", "--allocations", "--", sys.executable, script)
    assert done.returncode == 120, done.stderr
    assert re.search(r"MiB  leak \(leaks\.py:5\) < <module> \(leaks\.py:14\)", done.stderr), (
        done.stderr
    )


def test_a_program_without_python_has_no_allocations() -> None:
    done = memory("--allocations", "--", "/bin/sleep", "0.1")
    assert done.returncode == 0, done.stderr
    assert "no Python process lived for half a second" in done.stderr
