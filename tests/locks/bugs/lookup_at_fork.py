# source: https://github.com/spotify/luigi/pull/534
# hang: deadlock, repaired: nothing
"""A thread looks up a name under a lock during a fork, and the child looks up a name too."""

import os
import threading
import time

from forms import repaired

resolver_lock = threading.Lock()
fork_lock = threading.Lock()
is_held = threading.Event()


def looks_up(seconds: float = 0.2) -> None:
    with resolver_lock:
        is_held.set()
        time.sleep(seconds)


def keeps_alive() -> None:
    with fork_lock:
        looks_up()


thread = threading.Thread(target=keeps_alive)
thread.start()
is_held.wait()
if repaired:
    fork_lock.acquire()
child = os.fork()
if child == 0:
    looks_up(0)
    os._exit(0)
if repaired:
    fork_lock.release()
os.waitpid(child, 0)
thread.join()
