# source: https://github.com/gjcarneiro/pybindgen/issues/37
# order: inversion, hang: deadlock, repaired: nothing
"""An extension's worker calls Python under a mutex. `doit` takes it while it holds the GIL."""

import threading

from forms import hangs, repaired, run
from native import callback, free, held

QUEUE = 3
is_called = threading.Event()


@callback
def internal() -> None:
    is_called.set()


@callback
def internal_again() -> None:
    pass


def on_worker() -> None:
    free.call_slowly(QUEUE, internal, internal_again)


def doit() -> None:
    if hangs:
        is_called.wait()
    library = free if repaired else held
    library.take(QUEUE)
    library.release(QUEUE)


run(on_worker, doit)
