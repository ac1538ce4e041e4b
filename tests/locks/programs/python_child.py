# expect: inversion
"""The two orders are those of a process that multiprocessing has spawned."""

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


import multiprocessing


def child():
    a, b = threading.Lock(), threading.Lock()

    def one():
        with a, b:
            pass

    def other():
        with b, a:
            pass

    run(one, other)


if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=child)
    process.start()
    process.join()
