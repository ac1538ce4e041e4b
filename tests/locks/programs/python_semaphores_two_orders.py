# expect: inversion
"""Two semaphores with the initial value 1 in both orders: they count as locks."""

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
