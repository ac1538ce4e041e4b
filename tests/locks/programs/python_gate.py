# expect: nothing
"""Two locks in both orders, but only under a third lock."""

import threading

from turns import run

a, b, gate = threading.Lock(), threading.Lock(), threading.Lock()


def one() -> None:
    with gate, a, b:
        pass


def other() -> None:
    with gate, b, a:
        pass


run(one, other)
