# source: https://bugs.python.org/issue14976
# hang: deadlock, repaired: nothing
"""A signal handler calls `put` on a queue while the interrupted `put` holds the queue's lock."""

import os
import queue
import signal
from typing import Any

from forms import repaired


class Interrupted(queue.Queue[str]):
    def _put(self, item: str) -> None:
        super()._put(item)
        if item == "first":
            os.kill(os.getpid(), signal.SIGUSR1)


class Simple(queue.SimpleQueue[str]):
    pass


items: Any = Simple() if repaired else Interrupted()


def on_signal(number: int, frame: object) -> None:
    items.put("second")


signal.signal(signal.SIGUSR1, on_signal)
items.put("first")
if repaired:
    os.kill(os.getpid(), signal.SIGUSR1)
items.get()
