# expect: inversion
"""A lock and a reentrant lock in both orders."""

import threading

from turns import run

a = threading.Lock()
b = threading.RLock()


def one() -> None:
    with a, b:
        pass


def other() -> None:
    b.acquire()
    a.acquire(blocking=True)
    a.release()
    b.release()


run(one, other)
