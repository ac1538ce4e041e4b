# expect: inversion of Python lock, mutex
"""A Python lock and a native lock in both orders, the second order in a callback."""

import threading

from native import callback, free
from turns import run

a = threading.Lock()


def python_first() -> None:
    with a:
        free.take(0)
        free.release(0)


@callback
def with_a() -> None:
    with a:
        pass


def native_first() -> None:
    free.call_holding(0, with_a)


run(python_first, native_first)
