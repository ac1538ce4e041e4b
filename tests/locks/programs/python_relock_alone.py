# expect: deadlock
"""A thread takes a new lock twice, and no other thread could release it."""

import threading

lock = threading.Lock()
lock.acquire()
lock.acquire()
