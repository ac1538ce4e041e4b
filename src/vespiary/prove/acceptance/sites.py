"""Where cells run: this machine, and hosts behind the same interface."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from vespiary.errors import ConfigurationError
from vespiary.prove.acceptance.outcome import Result
from vespiary.prove.acceptance.plan import Plan
from vespiary.prove.acceptance.running import Running
from vespiary.prove.folders import Held

__all__ = ["Ended", "Here", "Resources", "Site", "keep"]


class Ended(NamedTuple):
    """A cell that has ended.

    Attributes:
        plan: What was done.
        result: What it found.
    """

    plan: Plan
    result: Result


class Site(Protocol):
    """Something that runs cells.

    Attributes:
        name: Of the host; `local` for this machine.
        lost: Why it cannot be used any more; empty while it can.
    """

    name: str
    lost: str

    def has_room(self, plan: Plan) -> bool:
        """Whether it can start another cell now."""

    def start(self, plan: Plan) -> None:
        """Start a cell."""

    def running(self) -> Sequence[Plan]:
        """The cells that run."""

    def descriptors(self) -> Sequence[int]:
        """Descriptors that become readable when there is something to see to."""

    def step(self) -> Sequence[Ended]:
        """See to what has happened; the cells that have ended."""

    def close(self) -> None:
        """End all that runs."""


@dataclass(frozen=True)
class Resources:
    """What the cells may use together.

    Attributes:
        jobs: How many run at once.
        memory: Bytes that their limits may come to together; one cell is always run.
    """

    jobs: int
    memory: int


class Here:
    """This machine."""

    def __init__(self, resources: Resources, artifacts: Path | None) -> None:
        self.name = "local"
        self.lost = ""
        self._resources = resources
        self._artifacts = artifacts
        self._running: list[Running] = []
        self._not_started: list[Ended] = []

    def has_room(self, plan: Plan) -> bool:
        """Whether processors and memory are left."""
        if not self._running:
            return True
        used = sum(each.plan.memory for each in self._running)
        is_free = len(self._running) < self._resources.jobs
        return is_free and used + plan.memory <= self._resources.memory

    def start(self, plan: Plan) -> None:
        """Start a cell; the result of one that cannot be started comes with the next step."""
        try:
            self._running.append(Running(plan))
        except (OSError, ConfigurationError) as error:
            result = plan.result()
            result.add("not-run", f"the case could not be started: {error}")
            self._not_started.append(Ended(plan, result))

    def running(self) -> list[Plan]:
        """The cells that run, or have just not been started."""
        return [*(each.plan for each in self._running), *(each.plan for each in self._not_started)]

    def descriptors(self) -> list[int]:
        """Those of the keepers."""
        return [each.fileno() for each in self._running]

    def step(self) -> list[Ended]:
        """The cells that have ended."""
        ended, self._not_started = self._not_started, []
        for each in list(self._running):
            each.hear_now()
            if not each.look():
                continue
            self._running.remove(each)
            assert each.result is not None
            try:
                keep(each.artifacts, self._artifacts, each.result)
            finally:
                each.close()
            ended.append(Ended(each.plan, each.result))
        return ended

    def close(self) -> None:
        """End all that runs."""
        for each in self._running:
            each.close()


def keep(source: Path, artifacts: Path | None, result: Result) -> None:
    """Keep the files of a cell, if they are to be kept; a note says where that was not possible."""
    if artifacts is None or not source.is_dir():
        return
    try:
        _copy(source, artifacts / result.id)
    except OSError as error:
        # That of copytree has a list of files, each with its own reason.
        why = error.args[0][0][-1] if isinstance(error, shutil.Error) else error.strerror
        result.notes.append(f"the files of a case could not be kept in {artifacts}: {why}")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with Held("vespiary-", target.parent) as held:
        new = held.path
        shutil.copytree(source, new, ignore=_no_sockets, dirs_exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        os.chmod(new, 0o755)  # noqa: PTH101
        new.rename(target)


def _no_sockets(folder: str, names: list[str]) -> list[str]:
    """Files that cannot be copied: sockets and pipes."""
    paths = ((name, Path(folder) / name) for name in names)
    return [name for name, path in paths if not (path.is_file() or path.is_dir())]
