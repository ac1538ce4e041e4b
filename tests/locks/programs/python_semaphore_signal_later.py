# expect: nothing
"""Used as locks at first, in both orders; then another thread releases one: it is a signal."""

import threading

from turns import run

ticket, lock = threading.Semaphore(1), threading.Lock()


def one() -> None:
    with ticket, lock:
        pass


def other() -> None:
    with lock, ticket:
        pass


def takes() -> None:
    ticket.acquire()


def gives() -> None:
    ticket.release()


run(one, other, takes, gives)
