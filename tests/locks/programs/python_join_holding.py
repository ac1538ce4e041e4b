# expect: deadlock
"""A thread joins another thread while it holds the lock that the other one wants."""

import threading

lock = threading.Lock()
is_held = threading.Event()


def wants() -> None:
    is_held.wait()
    with lock:
        pass


thread = threading.Thread(target=wants)
thread.start()
with lock:
    is_held.set()
    thread.join()
