# expect: inversion
"""A semaphore that counts as a lock, and a lock, in both orders."""

import threading

from turns import run

ticket, lock = threading.Semaphore(1), threading.Lock()


def one() -> None:
    with ticket, lock:
        pass


def other() -> None:
    with lock, ticket:
        pass


run(one, other)
