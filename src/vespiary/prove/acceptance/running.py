"""One cell that runs on this machine: its process, its limits, and its result."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import shutil
import sys
import time
from pathlib import Path

from vespiary.prove.acceptance.names import PROGRAMS_PATH
from vespiary.prove.acceptance.outcome import Result
from vespiary.prove.acceptance.plan import Plan
from vespiary.prove.acceptance.work.case import PLAN, RESULT
from vespiary.prove.acceptance.work.output import last_of
from vespiary.prove.folders import Held
from vespiary.prove.memory.kept import Kept
from vespiary.prove.memory.leftovers import end_leftovers
from vespiary.prove.memory.limiters import choose
from vespiary.prove.quantities import size_text

__all__ = ["Running", "logs_of"]

_GRACE_SECONDS = 30.0
"""Beyond its own time limit, for the process of a case to stop everything and report it."""

_LOOK_SECONDS = 0.1
_SAMPLES_MAX = 600
_LOG_BYTES_MAX = 60_000
_FULL_BYTES = 2 << 20
"""A case needs as much free disk, and some more for its programs."""


class Running:
    """A cell that runs.

    Attributes:
        plan: What is done.
        result: Its result; None while it runs.
    """

    def __init__(self, plan: Plan) -> None:
        """Start its process, with a keeper that ends everything when this process ends.

        Raises:
            OSError, ConfigurationError: this system does not allow it, for example because the disk
                is full.
        """
        self.plan = plan
        self.result: Result | None = None
        self._held = Held("vespiary-prove-")
        self._root = self._held.path
        self._limiter = choose(plan.memory).limiter
        try:
            self._start()
        except BaseException:
            self._held.close()
            self._limiter.close()
            raise

    def _start(self) -> None:
        self.plan.write(self._root / PLAN)
        self._began = time.monotonic()
        self._next_look = 0.0
        self._samples: list[tuple[float, int]] = []
        self._peak = 0
        self._problem: tuple[str, str] | None = None
        log = os.open(self._root / "case.log", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC)
        try:
            self._kept = Kept(
                [sys.executable, "-m", "vespiary.prove.acceptance.work.case", str(self._root)],
                _environment(),
                dataclasses.replace(self._limiter.place, delete=[self._root]),
                output=log,
            )
        finally:
            os.close(log)
        self._limiter.begun(self._kept.pid, self._kept.keeper)

    def fileno(self) -> int:
        """The descriptor that becomes readable when the keeper says something."""
        return self._kept.fileno()

    def hear_now(self) -> None:
        """Take in what the keeper has said."""
        while not self._kept.is_gone and select.select([self._kept], [], [], 0)[0]:
            self._kept.hear()

    def look(self) -> bool:
        """See how it is; whether it has ended, and `result` is there."""
        seconds = time.monotonic() - self._began
        is_over = self._kept.over is not None or self._limiter.is_over()
        if self._problem is None and is_over:
            text = f"all programs of the case used more than {self.plan.memory >> 20} MiB together"
            self._end_for("memory-limit", text)
        if self._kept.is_gone or self._kept.status is not None:
            self._check_output()
            self.result = self._conclude(seconds)
            return True
        if seconds >= self._next_look:
            self._sample(seconds)
        if self._problem is None and seconds > self.plan.timeout + _GRACE_SECONDS:
            text = f"the case did not end within {self.plan.timeout:g} s, and was killed"
            self._end_for("timeout", text)
        return False

    def _check_output(self) -> None:
        written = sum(map(_size, self.artifacts.glob("*.log")))
        if self._problem is None and written > self.plan.output:
            most = size_text(self.plan.output)
            text = f"all programs of the case wrote more than {most} of output together"
            self._end_for("output-limit", text)

    def _end_for(self, kind: str, text: str) -> None:
        self._problem = (kind, text)
        self._kept.end()

    def _sample(self, seconds: float) -> None:
        self._check_output()
        used = self._limiter.look().memory.used
        self._peak = max(self._peak, used)
        self._samples.append((round(seconds, 2), used))
        if len(self._samples) > _SAMPLES_MAX:
            self._samples = self._samples[::2]
        self._next_look = seconds + max(_LOOK_SECONDS, 2 * seconds / _SAMPLES_MAX)

    def _conclude(self, seconds: float) -> Result:
        try:
            result = Result.from_json(json.loads((self._root / RESULT).read_text()))
        except (OSError, ValueError):
            result = self.plan.result()
            result.seconds = seconds
            if self._problem is None:
                log, _ = last_of(self._root / "case.log", _LOG_BYTES_MAX)
                result.add("not-run", self._why_no_result(), log)
        if self._problem is not None:
            result.add(*self._problem)
        result.memory, result.peak_bytes = self._samples, self._peak
        artifacts = self._root / "artifacts"
        if artifacts.is_dir():
            _read_memory(result, artifacts / "server-memory.json")
            result.logs, result.artifacts = logs_of(artifacts)
        return result

    def _why_no_result(self) -> str:
        text = "the process of the case left no result"
        if shutil.disk_usage(self._root).free < _FULL_BYTES:
            text += f": the disk of {self._root.parent} is full (TMPDIR chooses another folder)"
        return text

    @property
    def artifacts(self) -> Path:
        """Where the files of the case are until `close`."""
        return self._root / "artifacts"

    def close(self) -> None:
        """End the rest, and remove everything of the run."""
        if self._kept.is_keeper_lost:
            end_leftovers(self._limiter)
        self._kept.close()
        self._held.close()
        self._limiter.close()


def _size(path: Path) -> int:
    """Bytes; 0 of a file that a program has removed."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read_memory(result: Result, path: Path) -> None:
    """Take the server's own memory, where `vespiary memory` has recorded it."""
    with contextlib.suppress(OSError, ValueError):
        samples = json.loads(path.read_text())["samples"]
        step = 1 + len(samples) // _SAMPLES_MAX
        result.memory = [
            (round(each["seconds"], 2), each["private_bytes"] + each["shared_bytes"])
            for each in samples[::step]
        ]
        result.memory_of = "the server"


def _environment() -> dict[str, str]:
    """The process of a case finds the modules that this one has; its programs, their own."""
    mine = os.pathsep.join(path for path in sys.path if path)
    theirs = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": mine, PROGRAMS_PATH: theirs}


def logs_of(folder: Path) -> tuple[dict[str, str], list[str]]:
    """The outputs of the programs, and the names of all files."""
    logs = {}
    for path in sorted(folder.glob("*.log")):
        with contextlib.suppress(OSError):
            text, omitted = last_of(path, _LOG_BYTES_MAX)
            note = f"({omitted:,} bytes before this are omitted)\n" if omitted else ""
            logs[path.stem] = note + text
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    return logs, sorted(names)
