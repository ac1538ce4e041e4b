# expect: deadlock
"""A thread takes a lock again that it holds in a `with` statement, while another thread lives."""

import threading
import time

lock = threading.Lock()
threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
with lock:
    lock.acquire()
