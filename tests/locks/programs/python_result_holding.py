# expect: deadlock
"""A result is waited for by who holds the lock that the call wants; another thread is idle."""

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
