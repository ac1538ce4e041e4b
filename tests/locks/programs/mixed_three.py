# expect: inversion of GIL, Python lock, mutex
"""A cycle of three: a Python lock, the GIL and a mutex."""

import threading
import time

from native import held
from turns import run

a = threading.Lock()


def python_lock_then_gil() -> None:
    with a:
        time.sleep(0.01)


def gil_then_mutex() -> None:
    held.take(0)
    held.release(0)


def mutex_then_python_lock() -> None:
    held.take(0)
    with a:
        pass
    held.release(0)


run(python_lock_then_gil, gil_then_mutex, mutex_then_python_lock)
