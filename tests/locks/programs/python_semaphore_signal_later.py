# expect: nothing
"""Semaphores in both orders; later another thread releases one, so it is a notification."""

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
