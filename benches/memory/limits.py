"""How each way holds a limit: what goes beyond it, how soon all is dead, who is killed wrongly.

The figures are the programs' own (`programs/counted.py`): the pages that they really touched, and
when. A tool's own figures are not used.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benches.memory.programs.counted import read
from benches.memory.tools import Tool

PROGRAMS = Path(__file__).parent / "programs"
CACHE = Path(__file__).resolve().parents[1] / ".cache"
LIMIT = 200 << 20
_SECONDS_MAX = 30.0
_BEYOND_MAX = 0.25
"""What goes further beyond the limit is not held by it."""

_INTERPRETER_BYTES, _FORKED_BYTES = 7 << 20, 1 << 20
"""What Python itself uses, and what a forked child writes of it; neither is in the counts."""


@dataclass(frozen=True)
class Case:
    """A program, and whether the limit must end it."""

    name: str
    words: tuple[str, ...]
    must_end: bool


CASES = (
    Case("1 GB/s", ("hog.py", "1e9"), True),
    Case("100 MB/s", ("hog.py", "1e8"), True),
    Case("4 processes", ("tree.py",), True),
    Case("20 forks share", ("forks.py",), False),
    Case("page cache", ("files.py",), False),
)


@dataclass(frozen=True)
class Result:
    """One run.

    Attributes:
        is_right: Whether it was ended, or left alone, as it should be.
        beyond: The share of the limit that was touched beyond it; negative below it.
        dead_seconds: From the last page that any process touched until the last process was gone;
            None if some are left.
        left: Processes that still ran a second after the tool had ended.
    """

    is_right: bool
    beyond: float
    dead_seconds: float | None
    left: int


def measure(tool: Tool, case: Case) -> Result:
    """Run a case once."""
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as counted,
        tempfile.TemporaryDirectory(dir=CACHE) as on_disk,
    ):
        command = [sys.executable, str(PROGRAMS / case.words[0]), *case.words[1:]]
        process = subprocess.Popen(
            tool.words(LIMIT, command),
            env={**os.environ, "COUNTED": counted, "ON_DISK": on_disk},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ended, gone = _watch(process, Path(counted))
        marks = {int(path.name): read(path) for path in Path(counted).iterdir()}
        left = [pid for pid in marks if _lives(pid)]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
    touched = sum(count for count, _ in marks.values())
    touched += _INTERPRETER_BYTES + _FORKED_BYTES * (len(marks) - 1)
    last = max((at for _, at in marks.values()), default=0.0)
    if case.must_end:
        is_right = not left and touched < (1 + _BEYOND_MAX) * LIMIT
    else:
        # runexec ends with 0 whatever the program does.
        is_right = ended and process.returncode == 0 and touched > 0
    return Result(
        is_right,
        touched / LIMIT - 1,
        None if gone is None else max(0.0, gone - last),
        len(left),
    )


def _watch(process: subprocess.Popen[bytes], counted: Path) -> tuple[bool, float | None]:
    """Wait for the end; whether it came by itself, and when the last counting process was gone."""
    deadline = time.monotonic() + _SECONDS_MAX
    gone = None
    while time.monotonic() < deadline:
        pids = [int(path.name) for path in counted.iterdir()]
        is_dead = bool(pids) and not any(map(_lives, pids))
        if is_dead and gone is None:
            gone = time.monotonic()
        if not is_dead:
            gone = None
        if process.poll() is not None:
            if gone is not None:
                return True, gone
            deadline = min(deadline, time.monotonic() + 1.0)
        time.sleep(0.002)
    process.kill()
    return process.poll() is not None, gone


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def row(tool: Tool, case: Case, results: list[Result]) -> list[str]:
    """A line of the table."""
    right = sum(result.is_right for result in results)
    dead = [result.dead_seconds for result in results if result.dead_seconds is not None]
    left = max(result.left for result in results)
    beyond = [result.beyond * 100 for result in results]
    ends = case.must_end
    return [
        case.name,
        tool.name,
        f"{right} of {len(results)}",
        f"{statistics.median(beyond):+.1f} % ({max(beyond):+.1f} %)" if ends else "",
        f"{statistics.median(dead) * 1000:.0f} ms ({max(dead) * 1000:.0f} ms)"
        if dead and ends
        else "",
        f"{left}" if left else "",
    ]
