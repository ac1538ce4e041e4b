# expect: nothing
"""A lock is deleted, and a new lock has the same address."""

import threading

from turns import run

a = threading.Lock()


def one() -> None:
    lock = threading.Lock()
    with a, lock:
        pass


def other() -> None:
    lock = threading.Lock()
    with lock, a:
        pass


run(*([one, other] * 5))
