"""What the programs of a case share: names, variables, folders, and the result."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from vespiary.prove.acceptance.names import PROGRAMS_PATH, VESPIARY, replaced
from vespiary.prove.acceptance.outcome import Step
from vespiary.prove.acceptance.plan import Plan
from vespiary.prove.acceptance.values import Pattern
from vespiary.prove.acceptance.work.sockets import free_port

__all__ = ["Context"]


class Context:
    """A case that is being run.

    Attributes:
        plan: What is to be done.
        result: What is known so far.
        ports: The ports given out, by name.
        artifacts: The folder of files that reports keep.
        started: The processes that were started by this one.
    """

    def __init__(self, plan: Plan, folder: Path, artifacts: Path) -> None:
        cell = plan.cell
        self.plan = plan
        self.artifacts = artifacts
        self.ports: dict[str, int] = {}
        self.started: set[int] = set()
        self.result = plan.result()
        self._began = time.monotonic()
        self._names = {
            "artifacts": str(artifacts),
            "driver": cell.driver or "",
            "folder": str(folder),
            "host": cell.host or "local",
            "python": cell.python or sys.executable,
            "seed": str(plan.seed),
            "suite": plan.suite_folder,
            "tool": cell.tool,
            "workers": "" if cell.workers is None else str(cell.workers),
        }

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Put down what is done, and how long it takes."""
        began = self.seconds
        try:
            yield
        finally:
            self.result.steps.append(Step(text, began, self.seconds - began))

    def name(self, name: str, value: object) -> None:
        """Give a name a value."""
        self._names[name] = str(value)

    def _value(self, name: str) -> str:
        if name == "port" or name.startswith("port."):
            if name not in self.ports:
                self.ports[name] = free_port(set(self.ports.values()))
            return str(self.ports[name])
        return self._names[name]

    def text(self, template: str) -> str:
        """A text with its names replaced."""
        return replaced(template, self._value)

    def pattern(self, template: Pattern) -> Pattern:
        """An expression with its names replaced by what matches their values."""
        return Pattern(replaced(template, lambda name: re.escape(self._value(name))))

    def words(self, words: Sequence[str]) -> list[str]:
        """A command with its names replaced."""
        found: list[str] = []
        for word in words:
            if word == VESPIARY:
                found += [sys.executable, "-m", "vespiary"]
            else:
                found.append(self.text(word))
        return found

    def variables(self, *more: Mapping[str, str] | None) -> dict[str, str]:
        """The environment of a program."""
        given = {"PYTHONUNBUFFERED": "1", **self.plan.environment}
        for each in more:
            given.update(each or {})
        inherited = {**os.environ}
        # A program may run on another version of Python, with modules of its own.
        inherited["PYTHONPATH"] = inherited.pop(PROGRAMS_PATH, "")
        if not inherited["PYTHONPATH"]:
            del inherited["PYTHONPATH"]
        return {**inherited, **{name: self.text(value) for name, value in given.items()}}

    def folder(self, name: str) -> Path:
        """A working folder, relative to the suite's."""
        return Path(self.plan.suite_folder) / self.text(name)

    def within(self, seconds: float) -> float:
        """A time limit, longer under tools that make programs slow."""
        return seconds * self.plan.wrapping.time_factor
