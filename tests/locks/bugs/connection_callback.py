# source: https://github.com/Auterion/libmav-python/pull/11
# order: inversion, hang: deadlock, repaired: nothing
"""A connection is used under the GIL. Its thread calls Python while it holds the mutex."""

import threading

from forms import hangs, repaired, run
from native import callback, free, held

CONNECTION, MESSAGES = 1, 2
is_received = threading.Event()


@callback
def on_message() -> None:
    is_received.set()


@callback
def on_next() -> None:
    pass


def receives() -> None:
    free.take(MESSAGES)
    free.call_slowly(CONNECTION, on_message, on_next)
    free.release(MESSAGES)


def sends() -> None:
    if hangs:
        is_received.wait()
    (free if repaired else held).take_both(MESSAGES, CONNECTION)


run(receives, sends)
