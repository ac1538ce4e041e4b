# source: https://github.com/dask/distributed/pull/1229
# hang: deadlock, repaired: nothing
"""A future's finalizer takes a lock that is held during the garbage collection."""

import gc
import threading
from collections import deque

from forms import repaired, run

reference_lock = threading.Lock()
pending: deque[str] = deque()


class Future:
    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        if repaired:
            pending.append("release")
            return
        with reference_lock:
            pass


def increments() -> None:
    Future()
    with reference_lock:
        gc.collect()


gc.disable()
run(increments)
