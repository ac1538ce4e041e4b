"""A function calls another one that wants the same lock: nothing ran in between."""

import threading

lock = threading.Lock()


def inner() -> None:
    with lock:
        pass


def work() -> None:
    with lock:
        inner()


work()
