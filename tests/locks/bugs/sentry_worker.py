# source: https://github.com/getsentry/sentry-python/issues/803
# hang: deadlock, repaired: nothing
"""A garbage collection runs under a queue's lock, and a finalizer logs into the queue."""

import gc
import logging
import queue
from typing import Any

from forms import repaired, run


class Collects(queue.Queue[str]):
    def _get(self) -> str:
        gc.collect()
        return super()._get()


events: Any = queue.SimpleQueue[str]() if repaired else Collects()


class Reports(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        events.put(record.getMessage())


log = logging.getLogger("reported")
log.addHandler(Reports())


class Deferred:
    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        log.error("unhandled")


def works() -> None:
    log.error("first")
    Deferred()
    events.get()


gc.disable()
run(works)
