# expect: deadlock
"""A thread takes a semaphore twice, and no other thread could release it."""

import threading

ticket = threading.Semaphore(1)
with ticket, ticket:
    pass
