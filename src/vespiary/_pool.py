"""Threads that run a handler's methods, and do not keep the program from ending.

The threads of concurrent.futures are awaited at the interpreter's exit, without a limit. Here the
server's stop waits for calls, as long as the drain takes. A call that continues beyond it has had
its time, and one that never returns must not keep the process; so the threads are daemons.

A pool grows while calls would have to wait, up to its limit, and shrinks when its threads have
nothing to do. The thread that has been idle for the shortest time gets the next call: so under a
small load the same few threads work, whose memory is in the caches, and the others end.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from vespiary._counted import counted

__all__ = ["Pool"]

logger = logging.getLogger("vespiary")

_Work = tuple[Future[None] | None, Callable[..., None], tuple[Any, ...]]
_Inbox = queue.SimpleQueue["_Work | None"]


class _Shared:
    """What a pool shares with its threads, which must not keep the pool itself."""

    def __init__(self, idle_seconds: float | None) -> None:
        self.idle_seconds = idle_seconds
        self.lock = threading.Lock()
        self.threads = 0
        self.idle: list[_Inbox] = []
        """The inboxes of idle threads, the latest last."""
        self.backlog: deque[_Work] = deque()
        self.is_closed = False

    def close(self) -> None:
        """Drop the calls that wait, and end the threads; calls in progress continue."""
        with self.lock:
            self.is_closed = True
            backlog, self.backlog = self.backlog, deque()
            idle, self.idle = self.idle, []
        for inbox in idle:
            inbox.put(None)
        for future, _, _ in backlog:
            if future is not None:
                future.cancel()


class Pool:
    """Threads that are made as they are needed, and end when they are not.

    Args:
        threads_max: How many there may be.
        idle_seconds: How long a thread waits for a call before it ends; None forever.
    """

    def __init__(self, threads_max: int, idle_seconds: float | None = None) -> None:
        self._threads_max = threads_max
        self._shared = _Shared(idle_seconds)
        self._started = 0
        self._is_short = False

    @property
    def threads(self) -> int:
        """How many threads there are."""
        return self._shared.threads

    @property
    def busy(self) -> int:
        """How many of them run a call."""
        with self._shared.lock:
            return self._shared.threads - len(self._shared.idle)

    def post(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have a function called by the next thread that is free; from one thread only.

        It must not raise. Where the system gives no further thread, the call waits for one of those
        that there are.

        Raises:
            RuntimeError: there is not a single thread, and none can be started.
        """
        self._add((None, function, arguments))

    def submit(self, function: Callable[..., None], *arguments: Any) -> Future[None]:
        """Do what `post` does; return a future that is done when the function has returned."""
        future: Future[None] = Future()
        self._add((future, function, arguments))
        return future

    def _add(self, work: _Work) -> None:
        shared = self._shared
        with shared.lock:
            if shared.idle:
                shared.idle.pop().put(work)
                return
            shared.backlog.append(work)
        self._grow(work)

    def _grow(self, newest: _Work) -> None:
        """Start a thread for each call that waits, as far as there may be more of them."""
        shared = self._shared
        while True:
            with shared.lock:
                if not shared.backlog or shared.threads >= self._threads_max:
                    return
                inbox: _Inbox = queue.SimpleQueue()
                inbox.put(shared.backlog.popleft())
                shared.threads += 1
            try:
                self._start_thread(inbox)
            except RuntimeError as error:
                with shared.lock:
                    work = inbox.get()
                    if work is not None:
                        shared.backlog.appendleft(work)
                    shared.threads -= 1
                    if not shared.threads:
                        shared.backlog.remove(newest)
                        raise
                self._warn(error)
                return
            self._is_short = False

    def _start_thread(self, inbox: _Inbox) -> None:
        # A thread that held the pool would keep it, and itself, where nobody closes it.
        work = (self._shared, inbox)
        name = f"vespiary_{self._started}"
        threading.Thread(target=_run, args=work, name=name, daemon=True).start()
        self._started += 1

    def _warn(self, error: RuntimeError) -> None:
        if not self._is_short:
            self._is_short = True
            logger.warning(
                "Cannot start a thread for handlers, so their calls wait for %s: %s",
                counted(self._shared.threads, "thread"),
                error,
            )

    def close(self) -> None:
        """Drop the calls that wait, and end the threads; calls in progress continue."""
        self._shared.close()

    def __del__(self) -> None:
        """End the threads of a pool that was not closed: its server was collected with its loop."""
        self._shared.close()


def _run(shared: _Shared, inbox: _Inbox) -> None:
    while True:
        work = _next(shared, inbox)
        if work is None:
            return
        future, function, arguments = work
        if future is None:
            function(*arguments)
        elif future.set_running_or_notify_cancel():
            try:
                function(*arguments)
            finally:
                future.set_result(None)
        # Nothing of a connection is kept while the thread waits.
        del work, future, function, arguments
        with shared.lock:
            if shared.backlog:
                inbox.put(shared.backlog.popleft())
            elif shared.is_closed:
                shared.threads -= 1
                return
            else:
                shared.idle.append(inbox)


def _next(shared: _Shared, inbox: _Inbox) -> _Work | None:
    """The next call of a thread; None where the thread is to end."""
    try:
        work = inbox.get(timeout=shared.idle_seconds)
    except queue.Empty:
        with shared.lock:
            if inbox in shared.idle:
                shared.idle.remove(inbox)
                shared.threads -= 1
                return None
        # Something was put there just now.
        work = inbox.get()
    if work is None:
        with shared.lock:
            shared.threads -= 1
    return work
