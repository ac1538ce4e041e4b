# source: https://github.com/Delgan/loguru/issues/712
# hang: deadlock, repaired: nothing
"""A sink allocates under the logger's lock, and the finalizer of a collected object logs."""

import gc
import threading

from forms import repaired, run

sink_lock = threading.RLock() if repaired else threading.Lock()


class Isolate:
    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        with sink_lock:
            pass


def emits() -> None:
    Isolate()
    with sink_lock:
        gc.collect()


gc.disable()
run(emits)
