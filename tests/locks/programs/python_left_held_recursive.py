# expect: misuse
"""A thread ends while it holds an RLock, which no other thread can release."""

import threading
import time

lock = threading.RLock()
thread = threading.Thread(target=lock.acquire)
thread.start()
thread.join()
# Before Python 3.13 a thread is joined a little before it has ended.
time.sleep(0.2)
