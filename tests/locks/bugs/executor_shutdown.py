# source: https://github.com/rohanpm/more-executors/issues/98
# hang: deadlock, repaired: nothing
"""An executor is shut down under its lock, and waits for threads that want to submit work."""

import threading
from concurrent.futures import ThreadPoolExecutor

from forms import repaired, run

lock = threading.Lock()
is_shutting = threading.Event()
inner = ThreadPoolExecutor(1)


def submit() -> None:
    with lock:
        pass


def task() -> None:
    is_shutting.wait()
    submit()


def shuts_down() -> None:
    inner.submit(task)
    with lock:
        is_shutting.set()
        if not repaired:
            inner.shutdown()
    inner.shutdown()


run(shuts_down)
