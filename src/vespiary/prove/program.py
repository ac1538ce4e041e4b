"""The program that is watched: started, waited for, and reached by the signals that come to us."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence

from vespiary.errors import ConfigurationError
from vespiary.prove.commands import check_command, why_not
from vespiary.prove.signals import BlockedSignals

__all__ = ["Program"]


class Program:
    """A process that was started with a command.

    Attributes:
        pid: The process.
        status: How it ended, as `subprocess` has it: negative for a signal; None while it runs.
    """

    def __init__(self, command: Sequence[str], variables: Mapping[str, str]) -> None:
        """Start it, searched for on PATH.

        Raises:
            ConfigurationError: it cannot be started.
        """
        check_command(command)
        self.status: int | None = None
        self._signals = BlockedSignals()
        try:
            self.pid = os.posix_spawnp(
                command[0],
                list(command),
                variables,
                setsigmask=self._signals.before,
                # Python has turned these off for itself.
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            )
        except OSError as error:
            self.close()
            raise ConfigurationError(why_not(command[0], error), subject="command") from error

    @property
    def asked_to_end(self) -> bool:
        """Whether a signal came that asks programs to end."""
        return self._signals.ending > 0

    def close(self) -> None:
        """Let signals come to us again."""
        self._signals.restore()

    def wait(self, seconds: float) -> int | None:
        """Its status; None when it still runs after that time, or sooner when a signal came."""
        if self._poll() is None:
            self.pause(seconds)
        return self._poll()

    def pause(self, seconds: float) -> None:
        """Wait for a signal, and pass it on to the program if it still runs."""
        came = self._signals.wait(seconds)
        if came is not None and self._poll() is None:
            os.kill(self.pid, came)

    def kill(self) -> None:
        """End it, regardless of its state."""
        if self._poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _poll(self) -> int | None:
        if self.status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                # We were started with SIGCHLD ignored: nobody keeps how it ended.
                pid, status = self.pid, 0
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status
