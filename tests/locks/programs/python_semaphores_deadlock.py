# expect: deadlock
"""Threads wait for each other in a cycle of semaphores."""

import threading

semaphores = [threading.BoundedSemaphore(1) for _ in range(3)]
together = threading.Barrier(3)


def take(number: int) -> None:
    with semaphores[number]:
        together.wait()
        with semaphores[(number + 1) % 3]:
            pass


threads = [threading.Thread(target=take, args=(number,)) for number in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
