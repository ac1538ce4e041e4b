# expect: nothing
"""Many queues, events and futures, whose locks are created in the same lines of Python."""

import concurrent.futures
import queue
import threading


class Stage:
    def __init__(self) -> None:
        self.jobs: queue.Queue[int | None] = queue.Queue()
        self.lock = threading.Lock()
        self.done = threading.Event()


first, second = Stage(), Stage()


def forward() -> None:
    for number in range(50):
        with first.lock:
            first.jobs.put(number)
            second.jobs.put(number)
    first.done.set()


def backward() -> None:
    for _ in range(50):
        with second.lock:
            second.jobs.get()
            first.jobs.get()
    second.done.set()


threads = [threading.Thread(target=body) for body in (forward, backward)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    futures = [pool.submit(pow, number, 2) for number in range(40)]
    concurrent.futures.wait(futures)
    concurrent.futures.wait(futures[::-1])
    assert sum(each.result() for each in concurrent.futures.as_completed(futures)) == 20540
