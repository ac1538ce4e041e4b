# expect: deadlock
"""A thread takes a semaphore again that it has, and no other thread lives that could release it."""

import threading

ticket = threading.Semaphore(1)
with ticket, ticket:
    pass
