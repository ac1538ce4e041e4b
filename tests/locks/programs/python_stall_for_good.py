# expect: stall with --stall 500ms
"""A thread holds a lock that another thread wants, and waits for an event that is never set."""

import os
import threading
import time

lock = threading.Lock()
holds = threading.Event()
never = threading.Event()


def keeps() -> None:
    with lock:
        holds.set()
        never.wait()


def wants() -> None:
    holds.wait()
    with lock:
        pass


for body in (keeps, wants):
    threading.Thread(target=body, daemon=True).start()
time.sleep(3)
os._exit(0)
