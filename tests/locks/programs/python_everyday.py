# expect: nothing
"""Ordinary uses of Queue, Event, Condition, Semaphore and Barrier."""

import concurrent.futures
import queue
import threading

jobs: queue.Queue[int] = queue.Queue(maxsize=2)
event = threading.Event()
room = threading.Semaphore(2)


def puts() -> None:
    for number in range(50):
        jobs.put(number)
    event.set()


def takes() -> None:
    for _ in range(50):
        with room:
            jobs.get()
    event.wait()


threads = [threading.Thread(target=body) for body in (puts, takes)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert sum(pool.map(lambda number: number, range(100))) == 4950
