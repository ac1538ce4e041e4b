# expect: deadlock of Python lock, mutex
"""Threads wait for each other in a cycle of Python locks and mutexes."""

import sys
import threading

from native import callback, free

count = int(sys.argv[1]) if len(sys.argv) > 1 else 2
ring = [threading.Lock() for _ in range(count)]
everybody = threading.Barrier(count)


def is_native(position: int) -> bool:
    return position % 2 == 1


def take_next(position: int) -> None:
    following = (position + 1) % count
    if is_native(following):
        free.take(following)
    else:
        with ring[following]:
            pass


def waits(position: int) -> None:
    @callback
    def with_it() -> None:
        everybody.wait()
        take_next(position)

    if is_native(position):
        free.call_holding(position, with_it)
    else:
        with ring[position]:
            everybody.wait()
            take_next(position)


threads = [threading.Thread(target=waits, args=(number,)) for number in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
