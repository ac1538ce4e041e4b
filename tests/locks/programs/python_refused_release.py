# expect: inversion
"""A release that raises an exception does not change the lock."""

import contextlib
import threading

from turns import run

a, b = threading.RLock(), threading.Lock()
for lock in (a, b):
    with contextlib.suppress(RuntimeError):
        lock.release()


def in_order() -> None:
    with a, b:
        pass


def in_other_order() -> None:
    with b, a:
        pass


run(in_order, in_other_order)
