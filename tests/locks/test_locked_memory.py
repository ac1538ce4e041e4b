"""Programs that lock all their memory (mlockall(2)): the record is not locked with it."""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

LIMIT_BYTES = 8 << 20
"""What `locks_its_memory limited` may lock."""
RESIDENT_KB_MAX = 64 << 10
"""The record has a room of 250 MiB."""


def may_lock() -> bool:
    """Whether this process may set the limit that the program sets."""
    _, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return most in (-1, resource.RLIM_INFINITY) or most >= LIMIT_BYTES


@pytest.mark.skipif(not may_lock(), reason="less than 8 MiB may be locked here (ulimit -l)")
@pytest.mark.parametrize("way", ["current", "future", "limited"])
def test_locked_memory_is_the_programs_and_not_the_records(
    way: str, compiled: Callable[..., Path]
) -> None:
    program = str(compiled("locks_its_memory"))
    for prefix in ([], [sys.executable, "-m", "vespiary", "locks", "--"]):
        done = subprocess.run(
            [*prefix, program, way], capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr
        resident, locked, is_before, is_later = map(int, done.stdout.split())
        assert (is_before, is_later) == (1, 1)
        assert 0 < locked < RESIDENT_KB_MAX
        assert resident < RESIDENT_KB_MAX
