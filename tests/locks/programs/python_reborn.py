# expect: nothing
"""A lock is collected, and another made at its address."""

import threading
import time

def run(*bodies):
    """Threads that live at the same time, but do their work one after the other."""
    together = threading.Barrier(len(bodies))
    turn = [0]

    def job(body, number):
        together.wait()
        while turn[0] != number:
            time.sleep(0.001)
        body()
        turn[0] += 1

    threads = [
        threading.Thread(target=job, args=(body, number)) for number, body in enumerate(bodies)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


a = threading.Lock()


def one():
    lock = threading.Lock()
    with a, lock:
        pass


def other():
    lock = threading.Lock()
    with lock, a:
        pass


run(*([one, other] * 5))
