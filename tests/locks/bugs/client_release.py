# source: https://github.com/ray-project/ray/pull/60011
# hang: deadlock, repaired: nothing
"""A reference's finalizer wants the client's lock, which is held during a garbage collection."""

import gc
import threading
from queue import SimpleQueue

from forms import repaired, run

client_lock = threading.Lock()
released = SimpleQueue[str]()


class Reference:
    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        if repaired:
            released.put("reference")
            return
        with client_lock:
            pass


def sends_request() -> None:
    Reference()
    with client_lock:
        gc.collect()


gc.disable()
run(sends_request)
