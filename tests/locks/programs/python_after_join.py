# expect: nothing
"""One order ends before the other thread is created."""

import threading

from turns import run

a, b = threading.Lock(), threading.Lock()


def one() -> None:
    with a, b:
        pass


def other() -> None:
    with b, a:
        pass


run(one)
run(other)
