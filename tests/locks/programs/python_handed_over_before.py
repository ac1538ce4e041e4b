# expect: inversion
"""The notification does not separate the orders, because one order is taken after it."""

import queue
import threading

a, b = threading.Lock(), threading.Lock()
event = threading.Event()
items: queue.Queue[int] = queue.Queue()


def one() -> None:
    event.set()
    items.put(1)
    with a, b:
        pass


def other() -> None:
    event.wait()
    items.get()
    with b, a:
        pass


threads = [threading.Thread(target=body) for body in (other, one)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
