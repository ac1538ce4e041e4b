# source: https://github.com/microsoft/picologging/issues/207
# order: inversion, hang: deadlock, repaired: nothing
"""A native lock is held during a call of Python code. Another thread with the GIL wants it."""

import threading

from forms import hangs, repaired, run
from native import callback, free, held

is_held = threading.Event()
HANDLER = 0


@callback
def emits() -> None:
    is_held.set()


@callback
def emits_again() -> None:
    pass


def handles() -> None:
    free.call_slowly(HANDLER, emits, emits_again)


def handles_too() -> None:
    if hangs:
        is_held.wait()
    library = free if repaired else held
    library.take(HANDLER)
    library.release(HANDLER)


run(handles, handles_too)
