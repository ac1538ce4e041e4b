"""A handler of a signal wants the lock that the interrupted code holds."""

import os
import signal
import threading

lock = threading.Lock()


def on_signal(number: int, frame: object) -> None:
    with lock:
        pass


signal.signal(signal.SIGUSR1, on_signal)
with lock:
    os.kill(os.getpid(), signal.SIGUSR1)
    while True:  # The handler runs at one of these turns.
        pass
