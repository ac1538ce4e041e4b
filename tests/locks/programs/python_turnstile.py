# expect: nothing
"""A lock as a turnstile: each release lets the next thread pass, none of which ever releases it."""

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
