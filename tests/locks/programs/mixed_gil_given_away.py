# expect: nothing
"""Locks around calls that release the GIL, and waits for Python locks, which release it too."""

import threading
import time

from native import callback, free, held
from turns import run

a = threading.Lock()
inside = threading.Event()


def holds() -> None:
    with a:
        inside.set()
        time.sleep(0.05)
        free.take(0)
        free.release(0)
        held.take(1)
        held.release(1)


def waits() -> None:
    inside.wait()
    with a:
        pass


threads = [threading.Thread(target=body) for body in (holds, waits, waits)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()


@callback
def python() -> None:
    time.sleep(0)


def foreign() -> None:
    free.call_on_a_thread(python)
    held.take(1)
    held.release(1)


run(foreign, foreign)
