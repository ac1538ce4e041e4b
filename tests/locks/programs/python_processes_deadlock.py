# expect: deadlock
"""Processes wait for each other in a cycle; the arguments are their number and start method."""

import multiprocessing
import sys
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier, Lock
from typing import Any


def take_next(ring: Sequence[Lock], position: int) -> None:
    with ring[(position + 1) % len(ring)]:
        pass


def waits(ring: Sequence[Lock], everybody: Barrier, position: int) -> None:
    with ring[position]:
        everybody.wait()
        take_next(ring, position)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    context: Any = multiprocessing.get_context(sys.argv[2] if len(sys.argv) > 2 else "fork")
    ring = [context.Lock() for _ in range(count)]
    everybody = context.Barrier(count)
    for number in range(1, count):
        context.Process(target=waits, args=(ring, everybody, number), daemon=True).start()
    waits(ring, everybody, 0)
