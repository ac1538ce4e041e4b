# expect: deadlock
"""Threads wait for each other in a cycle."""

import sys
import threading

count = int(sys.argv[1]) if len(sys.argv) > 1 else 2
ring = [threading.Lock() for _ in range(count)]
everybody = threading.Barrier(count)


def take_next(position: int) -> None:
    with ring[(position + 1) % count]:
        pass


def waits(position: int) -> None:
    with ring[position]:
        everybody.wait()
        take_next(position)


threads = [threading.Thread(target=waits, args=(number,)) for number in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
