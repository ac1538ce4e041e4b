# source: https://github.com/tomerfiliba-org/rpyc/pull/166
# hang: deadlock, repaired: nothing
"""The finalizer of a remote object's proxy sends a message while another one is being sent."""

import gc
import threading
from collections import deque

from forms import repaired, run

send_lock = threading.Lock()
pending: deque[str] = deque()


class Proxy:
    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        if repaired:
            pending.append("delete")
            return
        with send_lock:
            pass


def sends() -> None:
    Proxy()
    with send_lock:
        gc.collect()


gc.disable()
run(sends)
