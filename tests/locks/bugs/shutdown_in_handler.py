# source: https://github.com/python/cpython/pull/151482
# hang: deadlock, repaired: nothing
"""A signal handler shuts an executor down while `submit` holds the executor's lock."""

import os
import signal
import threading

from forms import repaired

shutdown_lock = threading.RLock() if repaired else threading.Lock()
is_down = threading.Event()


def shutdown() -> None:
    with shutdown_lock:
        is_down.set()


def on_signal(number: int, frame: object) -> None:
    shutdown()


signal.signal(signal.SIGTERM, on_signal)
with shutdown_lock:
    os.kill(os.getpid(), signal.SIGTERM)
    while not is_down.is_set():
        pass
