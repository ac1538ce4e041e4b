"""What to do when the keeper was killed: end the rest without it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from vespiary.prove.memory.reading import Limiter

__all__ = ["end_leftovers"]

_SECONDS_MAX = 10.0
_RESENT_SECONDS = 0.005


def end_leftovers(limiter: Limiter, variable: str | None = None) -> None:
    """Kill the processes of a program, as far as they are known.

    In a control group all are known. Otherwise those are that were seen before, and those that
    have a variable.

    Args:
        limiter: What knows them.
        variable: An environment variable of this program only, as NAME=VALUE.
    """
    deadline = time.monotonic() + _SECONDS_MAX
    while time.monotonic() < deadline:
        pids = {*limiter.processes(), *_with(variable)}
        if not pids:
            break
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_RESENT_SECONDS)


def _with(variable: str | None) -> list[int]:
    """The processes that were started with an environment variable, as far as we may see it."""
    if variable is None:
        return []
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if variable.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found
