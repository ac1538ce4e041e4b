"""Threads that run a handler's methods, and do not keep the program from ending.

The threads of concurrent.futures are awaited at the interpreter's exit, without a limit. Here the
server's stop waits for calls, as long as the drain takes. A call that continues beyond it has had
its time, and one that never returns must not keep the process; so the threads are daemons.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from vespiary._counted import counted

__all__ = ["Pool"]

logger = logging.getLogger("vespiary")

_Work = tuple[Future[None], Callable[..., None], tuple[Any, ...]]


class Pool:
    """Threads that are made as they are needed.

    Args:
        threads_max: How many there may be.
    """

    def __init__(self, threads_max: int) -> None:
        self._threads_max = threads_max
        self._threads = 0
        self._unserved = 0
        self._is_short = False
        self._waiting: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)

    def submit(self, function: Callable[..., None], *arguments: Any) -> Future[None]:
        """Have a function called by the next thread that is free; from one thread only.

        It must not raise. Where the system gives no further thread, the call waits for one of those
        that there are.

        Raises:
            RuntimeError: there is not a single thread, and none can be started.
        """
        future: Future[None] = Future()
        self._waiting.put((future, function, arguments))
        self._unserved += 1
        while self._unserved and self._idle.acquire(blocking=False):
            self._unserved -= 1
        try:
            while self._unserved and self._threads < self._threads_max:
                self._start_thread()
        except RuntimeError as error:
            if not self._threads:
                self._waiting.get()
                self._unserved -= 1
                raise
            if not self._is_short:
                self._is_short = True
                logger.warning(
                    "Cannot start a thread for handlers, so their calls wait for %s: %s",
                    counted(self._threads, "thread"),
                    error,
                )
        return future

    def _start_thread(self) -> None:
        name = f"vespiary_{self._threads}"
        # A thread that held the pool would keep it, and itself, where nobody closes it.
        work = (self._waiting, self._idle)
        threading.Thread(target=_run, args=work, name=name, daemon=True).start()
        self._threads += 1
        self._unserved -= 1
        self._is_short = False

    def close(self) -> None:
        """Drop the calls that wait, and end the threads; calls in progress continue."""
        while not self._waiting.empty():
            work = self._waiting.get()
            if work is not None:
                work[0].cancel()
        for _ in range(self._threads):
            self._waiting.put(None)

    def __del__(self) -> None:
        """End the threads of a pool that was not closed: its server was collected with its loop."""
        for _ in range(self._threads):
            self._waiting.put(None)


def _run(waiting: queue.SimpleQueue[_Work | None], idle: threading.Semaphore) -> None:
    while True:
        work = waiting.get()
        if work is None:
            return
        future, function, arguments = work
        if future.set_running_or_notify_cancel():
            try:
                function(*arguments)
            finally:
                future.set_result(None)
        # Nothing of a connection is kept while the thread waits.
        del work, future, function, arguments
        idle.release()
