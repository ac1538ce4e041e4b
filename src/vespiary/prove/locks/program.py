"""The program that is watched: started, waited for, and reached by the signals that come to us.

It runs as it would without us: in our process group and with our terminal, with the descriptors and
the signals' dispositions that we were given. Who wants to end it sends a signal to the process they
started, which is ours. So ours are blocked and waited for, and passed on; but those that the
terminal sends (Ctrl-C) have gone to the whole group already, and the kernel distinguishes them
(`si_code`, sigaction(2)).
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from vespiary.errors import ConfigurationError

__all__ = ["Program"]

_ENDING = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}
_PASSED_ON = {*_ENDING, signal.SIGUSR1, signal.SIGUSR2}
_AWAITED = {*_PASSED_ON, signal.SIGCHLD}
_FROM_KERNEL = 0x80
"""`SI_KERNEL`: the terminal's signals among others."""


class Program:
    """A process that was started with a command.

    Attributes:
        pid: The process.
        status: How it ended, as `subprocess` has it: negative for a signal; None while it runs.
        asked_to_end: Whether a signal came that asks programs to end.
    """

    def __init__(self, command: Sequence[str], variables: Mapping[str, str]) -> None:
        """Start it, searched for on PATH.

        Raises:
            ConfigurationError: it cannot be started.
        """
        self.status: int | None = None
        self.asked_to_end = False
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
        try:
            self.pid = os.posix_spawnp(
                command[0],
                list(command),
                variables,
                setsigmask=self._mask,
                # Python has turned these off for itself.
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            )
        except OSError as error:
            self.close()
            raise ConfigurationError(_why_not(command[0], error), subject="command") from error

    def close(self) -> None:
        """Let signals come to us again."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def wait(self, seconds: float) -> int | None:
        """Its status; None when it still runs after that time, or sooner when a signal came."""
        if self._poll() is None:
            self.pause(seconds)
        return self._poll()

    def pause(self, seconds: float) -> None:
        """Wait for a signal, and pass it on to the program if it still runs."""
        came = signal.sigtimedwait(_AWAITED, seconds)
        # When another signal interrupts the wait at its very end, Python gives a structure in which
        # nothing was written.
        if came is None or came.si_signo not in _PASSED_ON:
            return
        self.asked_to_end |= came.si_signo in _ENDING
        if came.si_code != _FROM_KERNEL and self._poll() is None:
            os.kill(self.pid, came.si_signo)

    def kill(self) -> None:
        """End it, whatever its state."""
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


def _why_not(command: str, error: OSError) -> str:
    """Why a command cannot be run, and what to do."""
    text = f"cannot run {command!r}: {error.strerror}"
    path = shutil.which(command) or command
    if isinstance(error, FileNotFoundError):
        if Path(path).exists():
            return f"{text}: the interpreter or dynamic linker that it asks for is not there"
        if "/" not in command and Path(command).exists():
            return f"{text} on PATH; ./{command} is in this folder"
        return text
    if isinstance(error, PermissionError):
        if Path(path).is_dir():
            return f"{text}: it is a folder"
        return f"{text}: chmod +x makes it executable, if it is a program"
    if error.errno == errno.ENOEXEC:
        return f"{text}: no program; a script begins with #! and its interpreter"
    return text
