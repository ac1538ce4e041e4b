# expect: deadlock
"""A thread takes a new lock twice, and there is nobody else who could release it."""

import threading

lock = threading.Lock()
lock.acquire()
lock.acquire()
