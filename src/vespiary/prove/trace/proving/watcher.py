"""A process that outlives a traced run, to end what the run has started, however the run ends.

A run that is killed cannot clean up, and a test that hangs without its mark would hang forever.
This file is run as a program, with nothing but Python's own library: it waits until its input ends,
which happens when the run is over, and then ends all processes that use the run's shared files.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["end_all", "watch"]

_ROUNDS_MAX = 50
_ROUND_SECONDS = 0.02


def end_all(variable: str, value: str) -> int:
    """Kill every process whose environment has a variable whose value begins so; their number.

    A daemon that a test has started leads a session of its own, and has no parent any more: only
    what it has inherited shows where it comes from.
    """
    wanted = f"{variable}={value}".encode()
    count = 0
    for place in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if any(part.startswith(wanted) for part in place.read_bytes().split(b"\0")):
                os.kill(int(place.parent.name), signal.SIGKILL)
                count += 1
    return count


def watch(variable: str, folder: Path) -> "subprocess.Popen[bytes]":
    """Start the watcher of a run whose shared files are in a folder; close its input to end it."""
    return subprocess.Popen(
        [sys.executable, "-I", __file__, variable, str(folder)],
        env={},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _main(variable: str, folder: str) -> None:
    sys.stdin.buffer.read()
    for _ in range(_ROUNDS_MAX):
        if not end_all(variable, f"{folder}/"):
            break
        time.sleep(_ROUND_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
