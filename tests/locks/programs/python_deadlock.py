# expect: deadlock
"""Threads wait for each other in a ring."""

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


import sys

count = int(sys.argv[1]) if len(sys.argv) > 1 else 2
ring = [threading.Lock() for _ in range(count)]
everybody = threading.Barrier(count)


def take_next(position):
    with ring[(position + 1) % count]:
        pass


def waits(position):
    with ring[position]:
        everybody.wait()
        take_next(position)


threads = [threading.Thread(target=waits, args=(number,)) for number in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
