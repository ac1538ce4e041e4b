"""Signals that reach a tool and are meant for the program that it runs.

The program runs as it would without the tool: in the same process group and with the same terminal.
Somebody who wants to end it sends a signal to the process they started, which is the tool. So the
tool blocks these signals, waits for them, and passes them on; but those that the terminal sends
(Ctrl-C) have gone to the whole group already, and the kernel distinguishes them (`si_code`,
sigaction(2)).
"""

from __future__ import annotations

import signal

__all__ = ["PASSED_ON", "BlockedSignals"]

_ENDING = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}
PASSED_ON = {*_ENDING, signal.SIGUSR1, signal.SIGUSR2}
"""What the terminal, or somebody, may send to the whole process group."""

_AWAITED = {*PASSED_ON, signal.SIGCHLD}
_FROM_KERNEL = 0x80
"""`SI_KERNEL`: the terminal's signals among others."""


class BlockedSignals:
    """The signals that are passed on, and SIGCHLD, blocked in this thread.

    Attributes:
        before: The mask until then, which a child is given.
        ending: How many signals came that ask programs to end. SIGHUP is one when the terminal
            sends it; from a person or a service manager it asks servers to read files again.
        asked_by: The last of these signals; None before the first.
    """

    def __init__(self) -> None:
        """Block them."""
        self.ending = 0
        self.asked_by: int | None = None
        self.before = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)

    def restore(self) -> None:
        """Let signals come to this thread again."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self.before)

    def wait(self, seconds: float) -> int | None:
        """Wait for a signal; the number of one that has to be passed on, else None."""
        came = signal.sigtimedwait(_AWAITED, seconds)
        # When another signal interrupts the wait at its very end, Python gives a structure in which
        # nothing was written.
        if came is None or came.si_signo not in PASSED_ON:
            return None
        is_from_terminal = came.si_code == _FROM_KERNEL
        is_reload = came.si_signo == signal.SIGHUP and not is_from_terminal
        if came.si_signo in _ENDING and not is_reload:
            self.ending += 1
            self.asked_by = came.si_signo
        return None if is_from_terminal else came.si_signo
