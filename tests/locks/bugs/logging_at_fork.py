# source: https://bugs.python.org/issue6721
# hang: deadlock, repaired: nothing
"""A thread logs during a fork, and the child logs. The fix is the one of today's logging module."""

import logging
import os
import threading
import time

from forms import repaired

is_held = threading.Event()


class Slow(logging.Handler):
    def createLock(self) -> None:  # noqa: N802  (logging's name)
        if repaired:
            super().createLock()
        else:
            self.lock = threading.RLock()

    def emit(self, record: logging.LogRecord) -> None:
        is_held.set()
        time.sleep(0.2)


log = logging.getLogger("slow")
log.addHandler(Slow())
thread = threading.Thread(target=log.error, args=("from the parent",))
thread.start()
is_held.wait()
child = os.fork()
if child == 0:
    log.error("from the child")
    os._exit(0)
os.waitpid(child, 0)
thread.join()
