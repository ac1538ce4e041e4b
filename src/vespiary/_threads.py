"""A handler's plain methods on a pool of threads, in order for each connection.

Each connection has a queue of calls. While one of its calls runs, others wait; so a handler sees
its connection's events in their order, and different connections in parallel. Messages that wait
are bounded: at the bound the connection is not read.

The calls of a connection run in a context of their own (`contextvars`), a copy of the connection's:
a context cannot be entered by two threads at once, and filters run in the connection's on the
loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, cast

from vespiary._callbacks import may_be_async, refuse_coroutine
from vespiary._core import close_as_told
from vespiary._counted import counted
from vespiary._fork import call
from vespiary._hooks import streamed_response
from vespiary._pool import Pool
from vespiary._simulated import post
from vespiary.errors import ConfigurationError, ConnectionClosed
from vespiary.filters import Filter
from vespiary.statistics import ThreadStatistics

if TYPE_CHECKING:
    from vespiary._bodies import Pieces
    from vespiary._core import Connection, Hooks
    from vespiary.limits import Limits
    from vespiary.request import Request

__all__ = ["ThreadedHooks"]

logger = logging.getLogger("vespiary")

_EVENTS = (
    "open",
    "message",
    "part",
    "drain",
    "subscribe",
    "unsubscribe",
    "end",
    "close",
    "shutdown",
)

_Call = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function and its arguments."""


class _Counts:
    """What was counted of calls; under the lock."""

    __slots__ = ("calls", "wait_seconds_max", "wait_seconds_total")

    def __init__(self) -> None:
        self.calls = 0
        self.wait_seconds_max = self.wait_seconds_total = 0.0

    def add(self, seconds: float) -> None:
        """A call begins, which has waited for `seconds`."""
        self.calls += 1
        self.wait_seconds_total += seconds
        self.wait_seconds_max = max(self.wait_seconds_max, seconds)


class _Queue:
    """The calls of one connection that wait."""

    __slots__ = (
        "bytes",
        "calls",
        "context",
        "has_finished",
        "has_left",
        "is_finishing",
        "is_paused",
        "is_running",
    )

    def __init__(self, context: contextvars.Context) -> None:
        self.calls: deque[tuple[float, _Call]] = deque()
        """With the moment at which each was queued."""
        self.bytes = 0
        self.context = context
        self.is_running = False
        self.is_paused = False
        self.is_finishing = False
        self.has_finished = False
        self.has_left = False


class ThreadedHooks:
    """Wraps a handler's hooks so that they run on threads."""

    def __init__(self, hooks: Hooks, limits: Limits, idle_seconds: float | None) -> None:
        if hooks.spawn is not None:
            raise ConfigurationError(
                "executor='threads' is for plain methods; an async handler can await"
                " asyncio.to_thread(...) instead",
                subject="executor",
            )
        self.hooks = hooks.copy()
        self._messages_max = limits.inbox_messages_max
        self._bytes_max = limits.inbox_bytes_max
        self._threads_max = limits.threads_max
        self._idle_seconds = idle_seconds
        self._pool: Pool | None = None
        self._counts = _Counts()
        self._lock = threading.Lock()
        # A connection that never opens has no `close` event, and goes with its object.
        self._queues: weakref.WeakKeyDictionary[Connection, _Queue] = weakref.WeakKeyDictionary()
        for event in _EVENTS:
            method = getattr(hooks, event)
            if method is not None or event == "close":
                setattr(self.hooks, event, self._event(event, method))
        self.hooks.working = self._is_working
        if hooks.end is None:
            self.hooks.end = self._event("end", _close_after_calls)
        self.hooks.timer = self._timer
        request = hooks.request
        if request is not None and not may_be_async(getattr(request, "__wrapped__", request)):
            self.hooks.request = self._request(request)

    @property
    def is_busy(self) -> bool:
        """Whether any call waits or runs."""
        with self._lock:
            return any(queue.is_running for queue in self._queues.values())

    def is_finishing(self, connection: Connection) -> bool:
        """Whether calls of a connection are in progress, or what they sent; on the loop's thread.

        No further messages are taken, as its server stops.
        """
        with self._lock:
            queue = self._queues.get(connection)
            if queue is None or queue.is_finishing:
                return queue is not None and not queue.has_finished
            queue.is_finishing = queue.is_paused = True
            is_running = queue.is_running
        connection._drop_messages()
        if not is_running:
            # What the last call sent may be on its way to this thread.
            connection._call_soon(self._resume, connection, queue)
        return True

    def _is_working(self, connection: Connection) -> bool:
        """Whether calls of a connection that ends now are in progress; on the loop's thread."""
        with self._lock:
            queue = self._queues.get(connection)
            if queue is None or not queue.is_running:
                return False
            queue.has_left = True
            return True

    def abandon(self, url: str) -> None:
        """Report the calls that the stop does not wait for; what they raise later is quiet."""
        with self._lock:
            count = sum(queue.is_running for queue in self._queues.values())
        logger.warning(
            "Still running on threads after the stop: %s of the handler, whose answers cannot "
            "be sent, on %s",
            counted(count, "call"),
            url,
        )

    def open(self) -> None:
        """Make the threads, for one run of the server."""
        self._queues.clear()
        self._counts = _Counts()
        self._pool = Pool(self._threads_max, self._idle_seconds)

    def close(self) -> None:
        """Take no further calls; those in progress continue."""
        if self._pool is not None:
            self._pool.close()

    def statistics(self) -> ThreadStatistics:
        """Return what the threads do and have done, since the start."""
        pool = self._pool
        with self._lock:
            counts = self._counts
            return ThreadStatistics(
                threads=pool.threads if pool is not None else 0,
                threads_busy=pool.busy if pool is not None else 0,
                calls_waiting=sum(len(queue.calls) for queue in self._queues.values()),
                calls_run=counts.calls,
                wait_seconds_max=counts.wait_seconds_max,
                wait_seconds_total=counts.wait_seconds_total,
            )

    def _event(self, event: str, method: Callable[..., Any] | None) -> Callable[..., None]:
        def enter(connection: Connection, *details: Any) -> None:
            calls: list[_Call] = []
            if method is not None:
                calls.append((method, (connection, *details)))
            if event == "close":
                calls.append((self._forget, (connection,)))
            self._add(connection, calls)

        return enter

    def _timer(
        self,
        connection: Connection,
        callback: Callable[[Connection], object],
        is_repeated: bool,
    ) -> None:
        if isinstance(getattr(callback, "__self__", None), Filter):
            # As the filter's other methods.
            refuse_coroutine(callback, callback(connection))
            return
        if is_repeated and self._waits(connection, callback):
            return
        self._add(connection, [(callback, (connection,))])

    def _waits(self, connection: Connection, callback: Callable[..., object]) -> bool:
        """Whether a call of this very function waits; a timer must not fill the queue."""
        with self._lock:
            queue = self._queues.get(connection)
            return queue is not None and any(one[0] is callback for _, one in queue.calls)

    def _request(self, method: Callable[..., Any]) -> Callable[..., Awaitable[object]]:
        """The engine awaits the response; other connections are served meanwhile."""

        def enter(connection: Connection, request: Request) -> Awaitable[object]:
            future: Future[object] = Future()

            def respond() -> None:
                try:
                    response = call(method, connection, request)
                    streamed = streamed_response(response)
                    if streamed is not None:
                        streamed.pieces = self._pieces(connection, streamed.pieces)
                except StopIteration as error:
                    # No future takes one (PEP 479).
                    future.set_exception(RuntimeError(f"on_request raised {error!r}"))
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(response)

            self._add(connection, [(respond, ())])
            return asyncio.wrap_future(future)

        enter.__wrapped__ = method  # type: ignore[attr-defined] # As functools.wraps has it.
        return enter

    def _pieces(self, connection: Connection, pieces: Pieces) -> Pieces:
        """The pieces of a body, each made on a thread; those of an async iterable are not."""
        if isinstance(pieces, AsyncIterable):
            return pieces
        return self._made(connection, iter(pieces))

    async def _made(
        self, connection: Connection, iterator: Iterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        end = object()
        try:
            while (piece := await self._called(connection, next, iterator, end)) is not end:
                yield cast("bytes", piece)
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                await self._called(connection, close)

    def _called(
        self, connection: Connection, function: Callable[..., Any], *arguments: Any
    ) -> Awaitable[object]:
        """Call something on a thread, behind what waits for the connection."""
        future: Future[object] = Future()

        def enter() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = call(function, *arguments)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._add(connection, [(enter, ())])
        return asyncio.wrap_future(future)

    def _add(self, connection: Connection, calls: list[_Call]) -> None:
        """Queue calls of a connection; on the loop's thread."""
        now = time.monotonic()
        with self._lock:
            queue = self._queues.get(connection)
            if queue is None:
                context = connection._context.copy()
                queue = self._queues[connection] = _Queue(context)
            for one in calls:
                queue.calls.append((now, one))
                queue.bytes += _bytes(one[1])
            is_full = len(queue.calls) >= self._messages_max or queue.bytes >= self._bytes_max
            if is_full and not queue.is_paused:
                queue.is_paused = True
                connection._hold_reading(True)
            if queue.is_running:
                return
            queue.is_running = True
        pool = self._pool
        try:
            if pool is None:
                raise RuntimeError("the endpoint does not serve")
            post(pool, self._work, connection, queue)
        except RuntimeError:
            self._drop(queue)
            raise

    def _drop(self, queue: _Queue) -> None:
        """Drop calls for which no thread can be started, so that later ones ask for one again."""
        with self._lock:
            queue.calls.clear()
            queue.bytes = 0
            queue.is_running = False

    def _forget(self, connection: Connection) -> None:
        with self._lock:
            self._queues.pop(connection, None)

    def _work(self, connection: Connection, queue: _Queue) -> None:
        while True:
            with self._lock:
                if not queue.calls:
                    queue.is_running = False
                    break
                since, (method, arguments) = queue.calls.popleft()
                queue.bytes -= _bytes(arguments)
                self._counts.add(time.monotonic() - since)
            try:
                refuse_coroutine(method, queue.context.run(call, method, *arguments))
            except BaseException as error:
                # Also what would end this thread, and leave the connection without one:
                # SystemExit and KeyboardInterrupt stop the server, everything else fails the
                # connection.
                _fail(connection, error)
        if queue.has_left:
            with contextlib.suppress(RuntimeError):
                connection._call_soon(connection._leave)
        if queue.is_paused:
            # Not from here, and not under the lock: the loop's thread may wait for it.
            # The loop may have ended.
            with contextlib.suppress(RuntimeError):
                connection._call_soon(self._resume, connection, queue)

    def _resume(self, connection: Connection, queue: _Queue) -> None:
        """Read on, unless the queue has filled up again; on the loop's thread."""
        with self._lock:
            if queue.is_finishing:
                queue.has_finished = not queue.is_running
            elif queue.is_paused and not queue.calls:
                queue.is_paused = False
                connection._hold_reading(False)


def _close_after_calls(connection: Connection) -> None:
    """Close a connection whose peer has finished, behind what earlier calls have sent."""
    connection._call_soon(close_as_told, connection)


def _fail(connection: Connection, error: BaseException) -> None:
    """Fail a connection for an exception of its handler; nothing here may end the thread's work."""
    try:
        connection._fail(error)
    except Exception:
        if _is_end(error):
            return
        logger.error("Handler failed, and its loop has ended", exc_info=error)


def _is_end(error: BaseException) -> bool:
    """Whether it says that the connection has ended, and nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_end(one) for one in error.exceptions)
    return isinstance(error, ConnectionClosed)


def _bytes(arguments: tuple[Any, ...]) -> int:
    """How much of a message or of its part waits with a call."""
    if len(arguments) > 1 and isinstance(arguments[1], bytes | str):
        return len(arguments[1])
    return 0
