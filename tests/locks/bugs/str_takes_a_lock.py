# source: https://github.com/storaged-project/blivet/issues/1500
# order: inversion, hang: deadlock, repaired: nothing
"""A record is formatted under the handler's lock, by an object that takes its own lock for it."""

import logging
import threading

from forms import meet, repaired, run

blivet_lock = threading.RLock()


class Device:
    def __str__(self) -> str:
        if repaired:
            return "device"
        meet()
        with blivet_lock:
            return "device"


class Buffer(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        self.last = self.format(record)


log = logging.getLogger("storage")
log.addHandler(Buffer())


def formats() -> None:
    log.error("created %s", Device())


def works() -> None:
    with blivet_lock:
        meet()
        log.error("working")


run(formats, works)
