# source: https://github.com/tango-controls/pytango/issues/292
# hang: deadlock, repaired: nothing
"""A finalizer unsubscribes under a lock that is held during the garbage collection."""

import gc
import threading

from forms import repaired, run

subscribed_events_lock = threading.Lock()


class Device:
    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        if repaired:
            threading.Thread(target=unsubscribe).start()
        else:
            unsubscribe()


def unsubscribe() -> None:
    with subscribed_events_lock:
        pass


def subscribes() -> None:
    Device()
    with subscribed_events_lock:
        gc.collect()


gc.disable()
run(subscribes)
