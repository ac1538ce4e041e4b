"""How a run's progress is shown while it runs: a bar on a terminal, else a line per second."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from vespiary.prove.load.plan import Plan
from vespiary.prove.load.report import Progress

__all__ = ["Watch", "shown"]

_LINE_SECONDS = 1.0


class Watch(Protocol):
    """Is called with the progress."""

    def __call__(self, progress: Progress) -> None:
        """Take note of it."""


@contextmanager
def shown(plan: Plan, stream: TextIO | None = None) -> Iterator[Watch]:
    """Return something that shows progress on `stream`, standard error by default."""
    stream = stream or sys.stderr
    if not stream.isatty():
        yield _Lines(stream)
        return
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(file=stream), transient=True) as bar:
        yield _Bar(plan, bar)


class _Lines:
    """A line per second, and one for each phase."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._phase = ""
        self._next = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.over or (progress.phase == self._phase and now < self._next):
            return
        self._phase = progress.phase
        self._next = now + _LINE_SECONDS
        line = f"vespiary load: {progress.seconds:6.1f} s  {progress.phase:<10}  {_told(progress)}"
        # Nobody may be reading any more; the run continues.
        with suppress(BrokenPipeError):
            print(line, file=self._stream, flush=True)


class _Bar:
    """A bar over the phase that is on."""

    def __init__(self, plan: Plan, bar: Bar) -> None:
        self._plan = plan
        self._bar = bar
        self._task = bar.add_task("connecting", total=plan.connections, told="")

    def __call__(self, progress: Progress) -> None:
        done, total = self._share(progress)
        self._bar.update(
            self._task,
            description=progress.phase,
            completed=done,
            total=total,
            told=_told(progress),
        )

    def _share(self, progress: Progress) -> tuple[float, float | None]:
        """How much of the phase is done, and how much there is, where that is known."""
        plan = self._plan
        if progress.phase == "connecting":
            return progress.connected + progress.refused, plan.connections
        if progress.phase != "sending":
            return 1, None if progress.phase == "holding" else 1
        shares: list[tuple[float, float]] = []
        if plan.messages:
            shares.append((progress.received, plan.messages * plan.connections))
        if plan.duration:
            shares.append((min(progress.sending_seconds, plan.duration), plan.duration))
        # With both, the run ends with whichever comes first.
        return max(shares, key=lambda share: share[0] / share[1], default=(0.0, 1.0))


def _told(progress: Progress) -> str:
    if progress.phase == "connecting":
        words = [f"{progress.connected:,} open"]
    else:
        rate = progress.received / progress.sending_seconds if progress.sending_seconds else 0.0
        words = [f"{progress.sent:,} sent, {progress.received:,} back ({rate:,.0f}/s)"]
    for name in ("refused", "reset", "closed", "altered", "lost", "reordered", "duplicated"):
        count: int = getattr(progress, name)
        if count:
            words.append(f"{count:,} {name}")
    return ", ".join(words)
