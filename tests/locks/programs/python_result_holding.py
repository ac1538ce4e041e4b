# expect: deadlock
"""A thread waits for a result while it holds the lock that the computing thread wants."""

import threading
from concurrent.futures import ThreadPoolExecutor

lock = threading.Lock()
is_held = threading.Event()
ends = threading.Event()


def wants() -> None:
    is_held.wait()
    with lock:
        pass


threading.Thread(target=ends.wait, daemon=True).start()
pool = ThreadPoolExecutor(max_workers=1)
future = pool.submit(wants)
with lock:
    is_held.set()
    future.result()
