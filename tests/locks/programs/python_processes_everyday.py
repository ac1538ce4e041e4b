# expect: nothing
"""Ordinary uses of multiprocessing, whose notifications are not locks."""

import multiprocessing
import sys
from typing import Any

ITEMS = 20


def square(number: int) -> int:
    return number * number


def work(tasks: Any, results: Any, ready: Any, room: Any, told: Any, lock: Any, total: Any) -> None:
    ready.wait()
    while (number := tasks.get()) is not None:
        with room, lock:
            total.value += number
        results.put(square(number))
    with told:
        told.notify_all()


def main(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    tasks, results = context.Queue(), context.SimpleQueue()
    ready, room = context.Event(), context.BoundedSemaphore(2)
    told, lock, total = context.Condition(), context.Lock(), context.Value("i", 0)
    shared = (tasks, results, ready, room, told, lock, total)
    workers = [context.Process(target=work, args=shared) for _ in range(2)]
    for worker in workers:
        worker.start()
    for number in range(ITEMS):
        tasks.put(number)
    ready.set()
    assert sorted(results.get() for _ in range(ITEMS)) == [square(n) for n in range(ITEMS)]
    with told:
        for _ in workers:
            tasks.put(None)
        told.wait(0.05)
    for worker in workers:
        worker.join()
    assert total.value == sum(range(ITEMS))
    with context.Pool(2) as pool:
        assert pool.map(square, range(ITEMS)) == [square(number) for number in range(ITEMS)]


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fork")
