# expect: nothing
"""A lock as a signal: one thread takes it, another releases it."""

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


signal = threading.Lock()
a = threading.Lock()
signal.acquire()


def waits():
    with a:
        pass
    signal.acquire()
    signal.release()


def tells():
    with a:
        signal.release()


run(tells, waits)
