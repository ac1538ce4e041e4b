"""A program of a case: started with its output in a file, watched, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from vespiary.prove.acceptance.work.context import Context
from vespiary.prove.acceptance.work.family import below
from vespiary.prove.acceptance.work.output import Output, tail
from vespiary.prove.commands import why_not
from vespiary.prove.exits import of_status

__all__ = ["NotStarted", "Program", "exit_text"]

_PAUSE_SECONDS = 0.01


class NotStarted(Exception):
    """A program cannot be started; the text says why."""


def exit_text(code: int) -> str:
    """How a program ended, for people."""
    if code > 128:
        with contextlib.suppress(ValueError):
            return f"{code} ({signal.Signals(code - 128).name})"
    return str(code)


class Program:
    """A program that runs, or has ended.

    Attributes:
        label: What reports call it.
        process: Its process.
        output: What it writes.
    """

    def __init__(
        self,
        context: Context,
        label: str,
        command: Sequence[str],
        folder: str,
        *variables: Mapping[str, str] | None,
    ) -> None:
        """Start it.

        Raises:
            NotStarted: that is not possible.
        """
        self.label = label
        log = context.artifacts / f"{label}.log"
        self.output = Output(log)
        words = context.words(command)
        where = context.folder(folder)
        if not where.is_dir():
            raise NotStarted(f"{label}: there is no folder {where}")
        try:
            with log.open("wb") as output:
                self.process = subprocess.Popen(
                    words,
                    cwd=where,
                    env=context.variables(*variables),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise NotStarted(f"{label}: {why_not(words[0], error)}") from error
        context.started.add(self.process.pid)

    @property
    def code(self) -> int | None:
        """How it ended, as shells report it; None while it runs."""
        status = self.process.poll()
        return None if status is None else of_status(status)

    @property
    def last_lines(self) -> str:
        """What it has written last, for a finding."""
        return tail(self.output.ending())

    def wait(self, seconds: float, is_over: Callable[[], bool] = lambda: False) -> bool:
        """Wait until it has ended or something is so; whether that was in time."""
        deadline = time.monotonic() + seconds
        while self.code is None and not is_over():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_PAUSE_SECONDS)
        return True

    def send(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.code is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it with everything below it."""
        if self.code is not None:
            return
        for pid in [self.process.pid, *below(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
