# expect: deadlock
"""A thread is joined by who holds the lock that it wants."""

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
