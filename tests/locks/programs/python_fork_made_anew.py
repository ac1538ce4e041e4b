# expect: nothing
"""Other threads hold locks at a fork. The child initialises them again, or does not use them."""

import logging
import os
import threading
import time
from typing import Any

lock: Any = threading.Lock()
unwanted = threading.RLock()
is_held = threading.Event()
handler = logging.StreamHandler()
os.register_at_fork(after_in_child=lock._at_fork_reinit)


def keeps() -> None:
    handler.acquire()
    with lock, unwanted:
        is_held.set()
        time.sleep(0.4)
    handler.release()


thread = threading.Thread(target=keeps)
thread.start()
is_held.wait()
child = os.fork()
if child == 0:
    handler.acquire()
    with lock:
        time.sleep(0.3)
    handler.release()
    other = threading.Thread(target=lambda: None)
    other.start()
    other.join()
    os._exit(0)
thread.join()
assert os.waitpid(child, 0)[1] == 0
