"""The runs of hosts while they continue: what each host has done so far, and its final report.

A host writes its progress into a file every second. Every few seconds it writes a complete report
so far into another file. Both are sent back while they are written. So if a host is lost, or the
run is stopped, everything is known except the last few seconds.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from vespiary.prove.acceptance.hosts.remote import Remote
from vespiary.prove.acceptance.outcome import Result
from vespiary.prove.acceptance.plan import Plan
from vespiary.prove.load.report import Progress

__all__ = ["REPORT", "Share", "SoFar", "gather"]

REPORT: Final = "report.json"
_PROGRESS: Final = "progress.json"
_INTERIM: Final = "so-far-*.json"
_PHASES: Final = ("connecting", "sending", "holding", "closing", "done")
_LOOK_SECONDS: Final = 0.05
_PROGRESS_SECONDS: Final = 1.0
_INTERIM_SECONDS: Final = 2.0
_INTERIM_SHARE: Final = 0.02
"""The time between two reports grows with the run, so that they take no more of it."""


class SoFar:
    """On a host: writes the progress and the reports of what was done so far."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next_progress = 0.0
        self._next_report = _INTERIM_SECONDS
        self._number = 0

    def watch(self, progress: Progress) -> None:
        """Write the progress, if it is time."""
        if progress.seconds >= self._next_progress:
            self._next_progress = progress.seconds + _PROGRESS_SECONDS
            told = {each.name: getattr(progress, each.name) for each in fields(progress)}
            with (self._folder / _PROGRESS).open("a") as file:
                file.write(json.dumps(told) + "\n")

    def is_due(self, seconds: float) -> bool:
        """Whether it is time for another report."""
        return seconds >= self._next_report

    def report(self, told: Mapping[str, Any], seconds: float) -> None:
        """Write a report; the one before the last is not needed any more."""
        self._next_report = seconds * (1 + _INTERIM_SHARE) + _INTERIM_SECONDS
        self._number += 1
        path = self._folder / _INTERIM.replace("*", str(self._number))
        # Written elsewhere first: what is in the folder is sent at once.
        new = self._folder.parent / f"{path.name}.new"
        new.write_text(json.dumps(told))
        new.replace(path)
        before = self._folder / _INTERIM.replace("*", str(self._number - 2))
        before.unlink(missing_ok=True)


class Share:
    """What one host has to do.

    Attributes:
        name: The host.
        progress: How far it has come; None before it began.
        told: Its report: of all that it did, or of what it did so far; None before it began.
        is_complete: Whether it went to its end.
        problem: Why not; empty while nothing is wrong.
    """

    def __init__(self, site: Remote, plan: Plan) -> None:
        self.name = site.name
        self.progress: Progress | None = None
        self.told: dict[str, Any] | None = None
        self.is_complete = False
        self.problem = ""
        self._site = site
        self._plan = plan
        self._is_begun = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be expected of the host."""
        return self.is_complete or bool(self.problem)

    def step(self, say: Callable[[str], None], files: Path) -> None:
        """See to what has happened."""
        if not self._is_begun and self._site.has_room(self._plan):
            self._is_begun = True
            self._site.start(self._plan)
            say(f"{self.name} has begun")
        for ended in self._site.step():
            self._end(ended.result, files)
        if self._site.lost and not self.is_over:
            self.look()
            self.problem = f"it was lost: {self._site.lost}"
        if self.is_over:
            say(f"{self.name} has ended" if self.is_complete else f"{self.name}: {self.problem}")

    def _end(self, result: Result, files: Path) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.told = json.loads((files / self._plan.cell.id / REPORT).read_text())
            self.is_complete = True
        if result.findings:
            self.is_complete = False
            text = result.logs.get("client-1", "").strip().splitlines()[-1:]
            self.problem = ": ".join([result.findings[0].text, *text])
        elif not self.is_complete:
            self.problem = "its report did not arrive"

    def look(self) -> None:
        """Read what the host has done so far."""
        folder = self._site.files(self._plan)
        if folder is None or self.is_over:
            return
        with contextlib.suppress(OSError, ValueError):
            lines = (folder / _PROGRESS).read_text().splitlines(keepends=True)
            whole = [line for line in lines if line.endswith("\n")]
            self.progress = Progress.from_native(json.loads(whole[-1])) if whole else None
        reports = sorted(folder.glob(_INTERIM), key=lambda path: path.stat().st_mtime_ns)
        for path in reports:
            with contextlib.suppress(ValueError):  # It has not come whole.
                self.told = json.loads(path.read_text())
                path.unlink()

    def close(self) -> None:
        """End what runs on the host."""
        self._site.close()


def gather(
    shares: list[Share],
    files: Path,
    say: Callable[[str], None],
    watch: Callable[[Progress], None],
) -> bool:
    """Let the hosts do their shares; whether they did, and were not stopped with Ctrl-C.

    Args:
        shares: What each host has to do.
        files: Where their files are put in the end.
        say: Called with a sentence about what happens.
        watch: Called with the progress of all hosts together, about once per second.
    """
    next_look = 0.0
    try:
        while running := [share for share in shares if not share.is_over]:
            for share in running:
                share.step(say, files)
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + _PROGRESS_SECONDS
                for share in running:
                    share.look()
                known = [share.progress for share in shares if share.progress is not None]
                if known:
                    watch(_together(known))
            time.sleep(_LOOK_SECONDS)
    except KeyboardInterrupt:
        for share in shares:
            share.look()
        return False
    finally:
        for share in shares:
            share.close()
    return True


def _together(every: list[Progress]) -> Progress:
    """The progress of all hosts, as that of one run; it is in the phase of the slowest."""
    slowest = min(every, key=lambda each: _PHASES.index(each.phase))
    values: dict[str, Any] = {}
    for field in fields(Progress):
        numbers = [getattr(each, field.name) for each in every]
        is_count = field.type in (int, "int")
        values[field.name] = sum(numbers) if is_count else max(numbers)
    return Progress(**{**values, "phase": slowest.phase, "over": False})
