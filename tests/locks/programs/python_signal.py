# expect: nothing
"""A lock as a notification: one thread takes it, another releases it."""

import threading

from turns import run

signal = threading.Lock()
a = threading.Lock()
signal.acquire()


def waits() -> None:
    with a:
        pass
    signal.acquire()
    signal.release()


def tells() -> None:
    with a:
        signal.release()


run(tells, waits)
