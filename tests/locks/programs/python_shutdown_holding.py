# expect: deadlock
"""A thread shuts an executor down while it holds the lock that one of its calls wants."""

import threading
from concurrent.futures import ThreadPoolExecutor

lock = threading.Lock()
is_held = threading.Event()


def wants() -> None:
    is_held.wait()
    with lock:
        pass


pool = ThreadPoolExecutor(max_workers=1)
pool.submit(wants)
with lock:
    is_held.set()
    pool.shutdown()
