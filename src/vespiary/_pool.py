"""Threads that run a handler's methods, and do not keep the program from ending.

The threads of concurrent.futures are awaited at the interpreter's exit, without a limit. Here the
server's stop waits for calls, as long as the drain takes. A call that goes on beyond it has had its
time, and one that never returns must not keep the process; so the threads are daemons.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

__all__ = ["Pool"]

_Work = tuple[Future[None], Callable[..., None], tuple[Any, ...]]


class Pool:
    """Threads that are made as they are needed.

    Args:
        threads_max: How many there may be.
    """

    def __init__(self, threads_max: int) -> None:
        self._threads_max = threads_max
        self._threads = 0
        self._waiting: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)

    def submit(self, function: Callable[..., None], *arguments: Any) -> Future[None]:
        """Have a function called by the next thread that is free; from one thread only.

        It must not raise.
        """
        future: Future[None] = Future()
        self._waiting.put((future, function, arguments))
        if not self._idle.acquire(blocking=False) and self._threads < self._threads_max:
            self._threads += 1
            name = f"vespiary_{self._threads - 1}"
            threading.Thread(target=self._run, name=name, daemon=True).start()
        return future

    def close(self) -> None:
        """Drop the calls that wait, and end the threads; calls under way go on."""
        while not self._waiting.empty():
            work = self._waiting.get()
            if work is not None:
                work[0].cancel()
        for _ in range(self._threads):
            self._waiting.put(None)

    def _run(self) -> None:
        while True:
            work = self._waiting.get()
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
            self._idle.release()
