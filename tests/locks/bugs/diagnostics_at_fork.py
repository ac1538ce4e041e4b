# source: https://github.com/E3SM-Project/e3sm_diags/issues/1040
# hang: deadlock, repaired: nothing
"""multiprocessing forks while a thread of a library holds a lock. The fix uses spawn."""

import multiprocessing
import threading
import time

from forms import repaired

library_lock = threading.Lock()
is_held = threading.Event()


def computes() -> None:
    with library_lock:
        pass


def in_the_background() -> None:
    with library_lock:
        is_held.set()
        time.sleep(0.3)


if __name__ == "__main__":
    thread = threading.Thread(target=in_the_background)
    thread.start()
    is_held.wait()
    context = multiprocessing.get_context("spawn" if repaired else "fork")
    process = context.Process(target=computes)  # type: ignore[attr-defined]
    process.start()
    process.join()
    thread.join()
