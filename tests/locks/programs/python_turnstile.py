# expect: nothing
"""Each release lets the next thread pass, and no thread releases the lock that it took."""

import threading
import time

turnstile = threading.Lock()
turnstile.acquire()
threads = [threading.Thread(target=turnstile.acquire) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in threads:
    time.sleep(0.3)
    turnstile.release()
for thread in threads:
    thread.join()
