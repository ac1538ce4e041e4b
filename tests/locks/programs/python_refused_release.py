# expect: inversion
"""A release that is refused changes nothing: the lock stays one."""

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
