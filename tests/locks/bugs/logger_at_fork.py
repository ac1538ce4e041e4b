# source: https://github.com/Delgan/loguru/issues/231
# hang: deadlock, repaired: nothing
"""A logger's lock is held at a fork. The fix takes it before the fork and releases it after."""

import os
import threading
import time

from forms import repaired

handler_lock = threading.Lock()
is_held = threading.Event()


def emits() -> None:
    with handler_lock:
        is_held.set()
        time.sleep(0.2)


if repaired:
    os.register_at_fork(
        before=handler_lock.acquire,
        after_in_parent=handler_lock.release,
        after_in_child=handler_lock.release,
    )
thread = threading.Thread(target=emits)
thread.start()
is_held.wait()
child = os.fork()
if child == 0:
    with handler_lock:
        os._exit(0)
os.waitpid(child, 0)
thread.join()
