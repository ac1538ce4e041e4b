# expect: nothing
"""Daemon threads want the GIL while the interpreter ends."""

import threading
import time

lock = threading.Lock()


def yields() -> None:
    while True:
        with lock:
            sum(range(50))
        time.sleep(0)


def burns() -> None:
    while True:
        sum(range(1000))


for body in [yields, burns] * 4:
    threading.Thread(target=body, daemon=True).start()
time.sleep(0.05)
