"""A finalizer wants the lock that is held when garbage is collected."""

import gc
import threading

lock = threading.Lock()


class Resource:
    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        with lock:
            pass


def work() -> None:
    Resource()
    with lock:
        gc.collect()


work()
