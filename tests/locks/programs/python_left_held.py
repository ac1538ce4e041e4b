# expect: information
"""A thread ends while it holds a lock that it used as a notification."""

import threading
import time

go = threading.Lock()
go.acquire()
thread = threading.Thread(target=go.acquire)
thread.start()
go.release()
thread.join()
other = threading.Thread(target=threading.Lock().acquire)
other.start()
other.join()
kept = threading.Lock()
keeper = threading.Thread(target=kept.acquire)
keeper.start()
keeper.join()
# Before Python 3.13 a thread is joined a little before it has ended.
time.sleep(0.2)
