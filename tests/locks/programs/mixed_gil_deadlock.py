# expect: deadlock of GIL, mutex
"""One thread holds the GIL and waits for a mutex, whose owner waits for the GIL."""

import threading

from native import callback, free, held

has_the_mutex = threading.Event()


@callback
def tells() -> None:
    has_the_mutex.set()


@callback
def needs_the_gil() -> None:
    pass


def mutex_then_gil() -> None:
    free.call_slowly(0, tells, needs_the_gil)


def gil_then_mutex() -> None:
    has_the_mutex.wait()
    held.take(0)


threads = [threading.Thread(target=body) for body in (mutex_then_gil, gil_then_mutex)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
