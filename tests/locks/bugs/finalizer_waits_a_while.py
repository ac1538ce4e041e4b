# source: https://github.com/delmic/odemis/pull/1952
# order: nothing
"""A finalizer waits for another thread with a timeout: slow, but not a deadlock."""

import gc
import threading

lock = threading.Lock()


class Dataflow:
    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        if lock.acquire(timeout=0.2):
            lock.release()


Dataflow()
with lock:
    gc.collect()
