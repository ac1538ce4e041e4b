# expect: inversion of GIL, mutex
"""One thread takes a mutex while it holds the GIL, another the GIL while it holds the mutex."""

from native import callback, free, held
from turns import run


@callback
def nothing() -> None:
    pass


def keeps_the_gil() -> None:
    held.take(0)
    held.release(0)


def takes_the_gil() -> None:
    free.call_holding(0, nothing)


run(keeps_the_gil, takes_the_gil)
