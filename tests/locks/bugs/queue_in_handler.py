# source: https://bugs.python.org/issue14976
# hang: deadlock, repaired: nothing
"""A signal's handler puts something into a queue whose lock the interrupted `put` holds."""

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
