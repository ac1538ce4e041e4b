"""The stacks of all threads of a worker, read by its supervisor.

A worker that hangs may hold the GIL in a call that never returns, and then runs no Python code. The
signal handler of faulthandler is C, needs no GIL, and writes to a descriptor: a file in memory,
which never makes it wait and which survives a worker that crashes.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import time

__all__ = ["Stacks"]

_SIGNAL = signal.SIGRTMIN + 4
"""A real-time signal: SIGUSR1 and SIGUSR2 belong to the program. The C library and valgrind use
the first ones."""
_WAIT_SECONDS = 1.0
_LOOK_SECONDS = 0.02
_BYTES_MAX = 64 << 10


class Stacks:
    """Where one worker writes its stacks."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("vespiary-stacks")

    def register(self) -> None:
        """Write the stacks of this process here when it is asked for them, or crashes."""
        faulthandler.register(_SIGNAL, file=self._descriptor, all_threads=True)
        if not faulthandler.is_enabled():
            faulthandler.enable(self._descriptor)

    def ask(self, process: int) -> str:
        """Have a process write its stacks, and return them; empty if it does not, within a second.

        A process that cannot take a signal is in the kernel, in an uninterruptible sleep.
        """
        os.kill(process, _SIGNAL)
        end, before = time.monotonic() + _WAIT_SECONDS, 0
        while time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)
            size = os.fstat(self._descriptor).st_size
            if size > 0 and size == before:
                break
            before = size
        return self.read()

    def read(self) -> str:
        """What has been written so far, without what is too much."""
        written = os.pread(self._descriptor, _BYTES_MAX, 0)
        return written.decode(errors="replace").rstrip()

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)
