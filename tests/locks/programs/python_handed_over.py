# expect: nothing
"""One order ends before the other one begins, after a notification, in all ways that are known."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

Wait = Callable[[], object]


def separated(tells: Callable[[], object], hears: Wait, *, hears_late: bool) -> None:
    """Two threads at the same time; the second begins to wait before or after the notice."""
    a, b = threading.Lock(), threading.Lock()
    told = [False]

    def one() -> None:
        with a, b:
            pass
        tells()
        told[0] = True

    def other() -> None:
        while hears_late and not told[0]:
            pass
        hears()
        with b, a:
            pass

    threads = [threading.Thread(target=body) for body in (other, one)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Flag:
    """What a condition is for."""

    def __init__(self, condition: threading.Condition) -> None:
        self._condition = condition
        self._is_set = False

    def set(self) -> None:
        with self._condition:
            self._is_set = True
            self._condition.notify_all()

    def wait(self) -> None:
        with self._condition:
            while not self._is_set:
                self._condition.wait()


def everything(hears_late: bool) -> None:
    event = threading.Event()
    separated(event.set, event.wait, hears_late=hears_late)
    queues: list[queue.Queue[int] | queue.SimpleQueue[int]] = [
        queue.Queue(),
        queue.LifoQueue(),
        queue.Queue(maxsize=1),
        queue.SimpleQueue(),
    ]
    for made in queues:
        separated(partial(made.put, 1), made.get, hears_late=hears_late)
    for condition in (threading.Condition(), threading.Condition(threading.Lock())):
        flag = Flag(condition)
        separated(flag.set, flag.wait, hears_late=hears_late)
    future: Future[int] = Future()
    separated(lambda: future.set_result(1), future.result, hears_late=hears_late)
    semaphore = threading.Semaphore(0)
    separated(semaphore.release, semaphore.acquire, hears_late=hears_late)
    signal = threading.Lock()
    signal.acquire()
    separated(signal.release, signal.acquire, hears_late=hears_late)


def a_barrier() -> None:
    barrier = threading.Barrier(2)
    separated(barrier.wait, barrier.wait, hears_late=False)


def a_pool() -> None:
    a, b = threading.Lock(), threading.Lock()

    def one() -> None:
        with a, b:
            pass

    def other() -> None:
        with b, a:
            pass

    with ThreadPoolExecutor(max_workers=2) as pool:
        keeps_busy = threading.Event()
        pool.submit(one).result()
        pool.submit(keeps_busy.wait)
        pool.submit(other).result()
        keeps_busy.set()
        pool.submit(one).result()


everything(hears_late=False)
everything(hears_late=True)
a_barrier()
a_pool()
