# source: https://github.com/python/cpython/pull/125492
# hang: deadlock, repaired: nothing
"""A manager joins a thread while it holds the lock that the thread takes when it closes."""

import threading

from forms import repaired, run

shutdown_lock = threading.Lock()
wakeup_lock = threading.Lock()
is_joining = threading.Event()


def queues() -> None:
    is_joining.wait()
    with wakeup_lock if repaired else shutdown_lock:
        pass


def manages() -> None:
    thread = threading.Thread(target=queues)
    thread.start()
    with shutdown_lock:
        is_joining.set()
        thread.join()


run(manages)
