# expect: inversion
"""A lock and a reentrant lock in both orders."""

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
b = threading.RLock()


def one():
    with a, b:
        pass


def other():
    b.acquire()
    a.acquire(blocking=True)
    a.release()
    b.release()


run(one, other)
