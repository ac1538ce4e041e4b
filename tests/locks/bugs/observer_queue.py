# source: https://github.com/itamarst/crochet/issues/25
# hang: deadlock, repaired: nothing
"""A finalizer logs into a queue while its own thread holds the queue's lock."""

import gc
import queue
from collections import deque
from typing import Any

from forms import repaired, run


class Allocates(queue.Queue[str]):
    """What is put in costs memory, at which garbage is collected: here, each time."""

    def _put(self, item: str) -> None:
        gc.collect()
        super()._put(item)


messages: Any = queue.SimpleQueue[str]() if repaired else Allocates()
kept: deque[str] = deque()


class Deferred:
    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        messages.put("unhandled error")


def logs() -> None:
    Deferred()
    messages.put("message")


gc.disable()
run(logs)
