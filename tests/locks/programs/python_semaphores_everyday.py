# expect: nothing
"""Semaphores as notifications, as limits, and as locks in one order or with a try."""

import threading
from typing import Any

from turns import run

limit = threading.BoundedSemaphore(2)
given, taken = threading.Semaphore(0), threading.Semaphore(1)
first, second = threading.Semaphore(1), threading.Semaphore(1)


def producer() -> None:
    for _ in range(20):
        taken.acquire()
        given.release()


def consumer() -> None:
    for _ in range(20):
        given.acquire()
        taken.release()


def one() -> None:
    with limit, first, second, limit:
        pass


def other() -> None:
    with second:
        if first.acquire(blocking=False):
            first.release()
        assert first.acquire(timeout=0.01)
        first.release()


def released_before() -> None:
    """A signal that is given before anybody waits for it, in the other order."""
    early = threading.Semaphore(0)
    early.release()
    with early, first:
        pass
    with first, early:
        pass


threads = [threading.Thread(target=each) for each in (producer, consumer)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
run(one, other, released_before)

bounded = threading.BoundedSemaphore(1)
try:
    bounded.release()
except ValueError:
    pass
else:
    raise AssertionError("it was released too often")
refused: list[Any] = [0, "one"]
for wrong in refused:
    with bounded:
        try:
            bounded.release(wrong)
        except (ValueError, TypeError):
            continue
        raise AssertionError("it took what it refuses")
assert bounded.acquire(blocking=False)
assert not bounded.acquire(blocking=False)
bounded.release()


class Named(threading.Semaphore):
    """A class of the program's own."""

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        return super().acquire(blocking, timeout)


own = Named()
assert own.acquire()
own.release()
