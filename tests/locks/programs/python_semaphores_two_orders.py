# expect: inversion
"""Two semaphores that begin with 1, which threads take in both orders: they are locks."""

import threading

from turns import run

ticket, seat = threading.Semaphore(), threading.BoundedSemaphore(1)


def one() -> None:
    with ticket, seat:
        pass


def other() -> None:
    seat.acquire()
    ticket.acquire(True)
    ticket.release()
    seat.release()


run(one, other)
