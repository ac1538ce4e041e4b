# expect: deadlock
"""A wait on a condition ends and takes its lock again, in a cycle with another lock."""

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
