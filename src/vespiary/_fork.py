"""Detect forked child processes, and end a child that a handler has forked.

The engine belongs to the parent, so the child cannot use it: the child ends when the handler
returns or raises, as a child of multiprocessing does. The cleanup of the parent's tasks is not
executed in the child.
"""

import os
import sys
import traceback
from typing import NoReturn

__all__ = ["end_child", "process"]

_process = os.getpid()


def process() -> int:
    """The process id, kept: `os.getpid` is a system call."""
    return _process


def _after_fork() -> None:
    global _process
    _process = os.getpid()


os.register_at_fork(after_in_child=_after_fork)


def end_child(error: BaseException | None) -> NoReturn:
    """End the process, with the status that `sys.exit` asked for."""
    status = 1
    if isinstance(error, SystemExit):
        if error.code is None:
            status = 0
        elif isinstance(error.code, int):
            status = error.code & 0xFF
        else:
            print(error.code, file=sys.stderr)
    elif error is not None:
        traceback.print_exception(error)
    else:
        print(
            "a handler returned in a forked child: the server belongs to the parent process, so"
            " the child ends here; end it with sys.exit() or os._exit()",
            file=sys.stderr,
        )
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(status)
