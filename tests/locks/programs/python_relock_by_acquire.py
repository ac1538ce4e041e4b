# expect: deadlock
"""A thread calls `acquire` twice on a lock that it has used as a lock before."""

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
