"""A process that ends with its parent."""

import ctypes
import os
import signal

__all__ = ["end_with"]

_SET_PARENT_DEATH_SIGNAL = 1


def end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends (PR_SET_PDEATHSIG, prctl(2))."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # It was killed before prctl was called.
        os._exit(1)
