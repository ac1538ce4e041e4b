"""Nanoseconds of CPU time that Python's locks cost which nobody else wants.

    pairs.py COUNT CASE...

A line for each case: its name, and the nanoseconds of one turn. Runs on any Python, by itself.
"""

from __future__ import annotations

import queue
import statistics
import sys
import threading
import time
from collections.abc import Callable

BLOCKS = 7


def measured(lock: threading.Lock | threading.RLock | threading.Condition, count: int) -> float:
    """`with lock`, ten to a round of the loop."""
    began = time.thread_time_ns()
    for _ in range(count // 10):
        with lock:
            pass
        with lock:
            pass
        with lock:
            pass
        with lock:
            pass
        with lock:
            pass
        with lock:
            pass
        with lock:
            pass
        with lock:
            pass
        with lock:
            pass
        with lock:
            pass
    return (time.thread_time_ns() - began) / count


def of_calls(lock: threading.Lock, count: int) -> float:
    """`acquire` and `release`."""
    acquire, release = lock.acquire, lock.release
    began = time.thread_time_ns()
    for _ in range(count):
        acquire()
        release()
    return (time.thread_time_ns() - began) / count


def of_queue(passed: queue.Queue[None], count: int) -> float:
    """`put` and `get`."""
    put, get = passed.put, passed.get
    began = time.thread_time_ns()
    for _ in range(count):
        put(None)
        get()
    return (time.thread_time_ns() - began) / count


CASES: dict[str, Callable[[int], float]] = {
    "lock": lambda count: measured(threading.Lock(), count),
    "rlock": lambda count: measured(threading.RLock(), count),
    "calls": lambda count: of_calls(threading.Lock(), count),
    "condition": lambda count: measured(threading.Condition(), count),
    "queue": lambda count: of_queue(queue.Queue(), count),
}


def main(words: list[str]) -> None:
    """Measure the cases in a thread of their own."""
    count = int(words[0])
    for name in words[1:]:
        CASES[name](count // 10 + 10)
        blocks = [CASES[name](count) for _ in range(BLOCKS)]
        print(name, statistics.median(blocks))


if __name__ == "__main__":
    thread = threading.Thread(target=main, args=(sys.argv[1:],))
    thread.start()
    thread.join()
