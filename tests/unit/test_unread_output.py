"""Tools that run a program end with its exit code, whether anyone reads their report or not."""

import os
import subprocess
import sys

import pytest

TOOLS = ("memory", "locks", "timewait")


def run(tool: str, stderr: int) -> int:
    words = [sys.executable, "-m", "vespiary", tool, "--", "sh", "-c", "exit 3"]
    return subprocess.run(words, stderr=stderr, check=False, timeout=100).returncode


@pytest.mark.parametrize("tool", TOOLS)
def test_a_pipe_that_nobody_reads_does_not_change_the_exit_code(tool: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert run(tool, writer) == 3
    finally:
        os.close(writer)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_full_disk_behind_standard_error_does_not_change_the_exit_code(tool: str) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        assert run(tool, full) == 3
    finally:
        os.close(full)
