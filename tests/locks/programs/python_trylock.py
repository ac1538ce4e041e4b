# expect: nothing
"""The inner lock of one order is taken with a try or a timeout."""

import threading

from turns import run

a, b = threading.Lock(), threading.Lock()


def one() -> None:
    with a, b:
        pass


def tries() -> None:
    with b:
        if a.acquire(blocking=False):
            a.release()
        if a.acquire(timeout=0.01):
            a.release()


run(one, tries)
