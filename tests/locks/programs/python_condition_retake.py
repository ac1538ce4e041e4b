# expect: deadlock
"""A wait on a condition is over, but its lock is taken: by who wants what the waiter holds."""

import threading

lock = threading.Lock()
condition = threading.Condition()
waits = threading.Event()


def is_waiting() -> None:
    with lock, condition:
        waits.set()
        condition.wait()


def notifies() -> None:
    waits.wait()
    with condition:
        condition.notify()
        with lock:
            pass


threads = [threading.Thread(target=body) for body in (is_waiting, notifies)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
