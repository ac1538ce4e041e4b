# expect: deadlock
"""A thread takes a lock again by `acquire` that it has used as a lock before, and holds."""

import threading

lock = threading.Lock()
ends = threading.Event()


def adds() -> None:
    lock.acquire()
    lock.release()


def adds_two() -> None:
    lock.acquire()
    adds()
    lock.release()


threading.Thread(target=ends.wait, daemon=True).start()
adds()
adds_two()
