# source: https://github.com/logdna/python/pull/108
# hang: deadlock, repaired: nothing
"""A handler keeps its own lock in `lock`, where the base class keeps the handler's lock."""

import logging
import threading

from forms import repaired, run


class Sends(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        if repaired:
            self.own = threading.Lock()
        else:
            self.lock = self.own = threading.Lock()  # type: ignore[assignment]

    def emit(self, record: logging.LogRecord) -> None:
        with self.own:
            pass


log = logging.getLogger("sends")
log.addHandler(Sends())


def logs() -> None:
    log.error("something")


run(logs)
