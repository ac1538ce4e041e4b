"""Run cells side by side, as far as processors and memory allow."""

from __future__ import annotations

import select
import shutil
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vespiary.prove.acceptance.outcome import Result
from vespiary.prove.acceptance.plan import Plan
from vespiary.prove.acceptance.running import Running

__all__ = ["Resources", "run_plans"]

_POLL_MILLISECONDS = 50


@dataclass(frozen=True)
class Resources:
    """What the cells may use together.

    Attributes:
        jobs: How many run at once.
        memory: Bytes that their limits may come to together; one cell is always run.
    """

    jobs: int
    memory: int


class _Table:
    """The cells that run now."""

    def __init__(self, resources: Resources) -> None:
        self.running: list[Running] = []
        self._resources = resources

    def has_room(self, plan: Plan) -> bool:
        """Whether another cell may start."""
        if not self.running:
            return True
        used = sum(each.plan.memory for each in self.running)
        return (
            len(self.running) < self._resources.jobs
            and used + plan.memory <= self._resources.memory
        )

    def wait(self) -> None:
        """Wait a moment, or until one has something to say."""
        poll = select.poll()
        for each in self.running:
            poll.register(each.fileno(), select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(_POLL_MILLISECONDS)}
        for each in self.running:
            if each.fileno() in ready:
                each.hear()

    def ended(self) -> Iterator[Running]:
        """Those that have ended, which are taken from the table."""
        for each in list(self.running):
            if each.look():
                self.running.remove(each)
                yield each

    def close(self) -> None:
        """End all of them."""
        for each in self.running:
            each.close()


def run_plans(
    plans: Sequence[Plan], resources: Resources, artifacts: Path | None = None
) -> Generator[Result | Plan]:
    """Run cells; yields each plan when it starts, and each result when it is there.

    Args:
        plans: The cells.
        resources: What they may use together.
        artifacts: Where the files of each cell are kept, in folders of their own.

    When the iterator is closed, what runs is ended.
    """
    waiting = deque(plans)
    table = _Table(resources)
    try:
        while waiting or table.running:
            while waiting and table.has_room(waiting[0]):
                plan = waiting.popleft()
                table.running.append(Running(plan))
                yield plan
            table.wait()
            for each in table.ended():
                try:
                    _keep(each, artifacts)
                finally:
                    each.close()
                assert each.result is not None
                yield each.result
    finally:
        table.close()


def _keep(running: Running, artifacts: Path | None) -> None:
    if artifacts is not None and running.artifacts.is_dir():
        target = artifacts / running.plan.cell.id
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(running.artifacts, target, ignore=_no_sockets)


def _no_sockets(folder: str, names: list[str]) -> list[str]:
    """Files that cannot be copied: sockets and pipes."""
    paths = ((name, Path(folder) / name) for name in names)
    return [name for name, path in paths if not (path.is_file() or path.is_dir())]
