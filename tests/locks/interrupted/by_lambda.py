"""A handler of a signal, which is a lambda, wants the lock that the interrupted code holds."""

import os
import signal
import threading

lock = threading.Lock()


def take() -> None:
    with lock:
        pass


signal.signal(signal.SIGUSR1, lambda *_: take())
with lock:
    os.kill(os.getpid(), signal.SIGUSR1)
    while True:  # The handler runs at one of these turns.
        pass
