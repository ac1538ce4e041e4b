# expect: inversion of GIL, mutex
"""The two orders are in a forked child, which has a new GIL."""

import os

from native import callback, free, held
from turns import run


@callback
def nothing() -> None:
    pass


def keeps_the_gil() -> None:
    held.take_both(1, 2)
    held.take(0)
    held.release(0)


def takes_the_gil() -> None:
    free.call_holding(0, nothing)


held.take_both(2, 1)
child = os.fork()
if child == 0:
    run(keeps_the_gil, takes_the_gil)
    os._exit(0)
os.waitpid(child, 0)
