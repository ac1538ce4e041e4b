"""Detect forked child processes, and end a child that a handler has forked.

The engine belongs to the parent, so the child cannot use it: the child ends when the handler
returns or raises, as a child of multiprocessing does. The cleanup of the parent's tasks is not
executed in the child.
"""

import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn, ParamSpec, TypeVar

__all__ = ["call", "end_child", "process"]

P = ParamSpec("P")
T = TypeVar("T")

_process = os.getpid()


def process() -> int:
    """The process id, kept: `os.getpid` is a system call."""
    return _process


def _after_fork() -> None:
    global _process
    _process = os.getpid()


os.register_at_fork(after_in_child=_after_fork)


def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function of the program on a thread of ours; a child that it has forked ends here.

    The native code does the same for what it calls itself.
    """
    before = _process
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        if _process != before:
            end_child(error)
        raise
    if _process != before:
        end_child(None)
    return result


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
