"""Units of work that a program reports, to measure growth per message, request or job.

The protocol: the environment variable VESPIARY_MEMORY_WORK names a file (a pipe, fifo(7)); each
line that is appended to it is the number of units done since the line before. Any process may write
lines, in any language: `echo 100 >> "$VESPIARY_MEMORY_WORK"`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import time
from pathlib import Path

from vespiary.errors import ConfigurationError

__all__ = ["VARIABLE", "WorkReports", "report_work"]

VARIABLE = "VESPIARY_MEMORY_WORK"
_BETWEEN_SECONDS = 0.1
_PIECE = 1 << 16


class WorkReports:
    """The reading end.

    Attributes:
        units: Done so far.
        is_reported: Whether anything was reported.
        malformed: Lines that are not numbers.
    """

    def __init__(self, path: Path) -> None:
        """Make the pipe at `path`, writable by everybody if root runs this.

        Raises:
            ConfigurationError: it cannot be made.
        """
        self.path = path
        self.units = 0
        self.is_reported = False
        self.malformed = 0
        self._rest = b""
        try:
            os.mkfifo(path, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"a pipe cannot be made at {path}: {error.strerror}", subject=str(path)
            ) from None
        if os.geteuid() == 0:
            path.chmod(0o622)
        # Opened for both, so that it never ends when a writer closes it.
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """The descriptor that becomes readable when there are lines."""
        return self._descriptor

    def read(self) -> None:
        """Take in what is there."""
        while True:
            try:
                piece = os.read(self._descriptor, _PIECE)
            except BlockingIOError:
                return
            *lines, self._rest = (self._rest + piece).split(b"\n")
            for line in lines:
                try:
                    self.units += int(line)
                    self.is_reported = True
                except ValueError:
                    self.malformed += bool(line.strip())
            if len(self._rest) > _PIECE:
                self._rest = b""
                self.malformed += 1

    def close(self) -> None:
        """Remove the pipe."""
        os.close(self._descriptor)
        self.path.unlink(missing_ok=True)


class _Reporter:
    """What this process has done and not yet reported."""

    def __init__(self) -> None:
        self._units = 0
        self._next = 0.0
        self._path = os.environ.get(VARIABLE)
        if self._path is not None:
            os.register_at_fork(after_in_child=self._forget)
            atexit.register(self._send)

    def _forget(self) -> None:
        """What is not reported yet is the parent's."""
        self._units = 0

    def add(self, units: int) -> None:
        if self._path is None:
            return
        self._units += units
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _BETWEEN_SECONDS
        self._send()

    def _send(self) -> None:
        if self._path is None or not self._units:
            return
        # No reader, or a full pipe: the units stay for the next time.
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(descriptor, b"%d\n" % self._units)
                self._units = 0
            finally:
                os.close(descriptor)


_reporter = _Reporter()


def report_work(units: int = 1) -> None:
    """Report units of work to `vespiary memory`; does nothing when the program runs without it.

    Units are added up, and written ten times per second at most and at the end of the process. Only
    one thread may call this at a time.
    """
    _reporter.add(units)
