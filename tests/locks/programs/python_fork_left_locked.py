# expect: deadlock
"""Another thread holds a lock at a fork, and the child waits for it."""

import os
import threading
import time

lock = threading.Lock()
is_held = threading.Event()


def keeps() -> None:
    with lock:
        is_held.set()
        time.sleep(0.3)


def want_it() -> None:
    with lock:
        pass


thread = threading.Thread(target=keeps, name="keeper")
thread.start()
is_held.wait()
child = os.fork()
if child == 0:
    want_it()
    os._exit(0)
thread.join()
os.waitpid(child, 0)
