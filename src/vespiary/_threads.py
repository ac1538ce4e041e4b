"""A handler's plain methods on a pool of threads, in order for each connection.

Each connection has a queue of calls. While one of its calls runs, others wait; so a handler sees
its connection's events in their order, and different connections in parallel. Messages that wait
are bounded: at the bound the connection is not read.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from vespiary.errors import ConfigurationError, ConnectionClosed

if TYPE_CHECKING:
    from vespiary._core import Connection, Hooks

__all__ = ["ThreadedHooks"]

_EVENTS = ("open", "message", "part", "drain", "end", "close")


class _Line:
    """The calls of one connection that wait."""

    __slots__ = ("bytes", "calls", "paused", "running")

    def __init__(self) -> None:
        self.calls: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self.bytes = 0
        self.running = False
        self.paused = False


class ThreadedHooks:
    """Wraps a handler's hooks so that they run on threads."""

    def __init__(self, hooks: Hooks, messages_max: int, bytes_max: int) -> None:
        if hooks.spawn is not None:
            raise ConfigurationError(
                "executor='threads' is for plain methods; an async handler can await"
                " asyncio.to_thread(...) instead",
                subject="executor",
            )
        self.hooks = hooks.copy()
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._lines: dict[Connection, _Line] = {}
        self._pool = ThreadPoolExecutor(
            max_workers=min(32, (os.cpu_count() or 1) + 4), thread_name_prefix="vespiary"
        )
        for event in _EVENTS:
            method = getattr(hooks, event)
            if method is not None or event == "close":
                setattr(self.hooks, event, self._entrance(event, method))

    def close(self) -> None:
        """Wait for the calls that are under way."""
        self._pool.shutdown(wait=True)

    def _entrance(self, event: str, method: Callable[..., Any] | None) -> Callable[..., None]:
        def enter(connection: Connection, *details: Any) -> None:
            with self._lock:
                line = self._lines.get(connection)
                if line is None:
                    line = self._lines[connection] = _Line()
                if method is not None:
                    line.calls.append((method, (connection, *details)))
                if event == "close":
                    line.calls.append((self._forget, (connection,)))
                line.bytes += _bytes(details)
                is_full = len(line.calls) >= self._messages_max or line.bytes >= self._bytes_max
                if is_full and not line.paused:
                    line.paused = True
                    connection.pause_reading()
                if line.running:
                    return
                line.running = True
            self._pool.submit(self._work, connection, line)

        return enter

    def _forget(self, connection: Connection) -> None:
        with self._lock:
            self._lines.pop(connection, None)

    def _work(self, connection: Connection, line: _Line) -> None:
        while True:
            with self._lock:
                if not line.calls:
                    line.running = False
                    if line.paused:
                        line.paused = False
                        connection.resume_reading()
                    return
                method, arguments = line.calls.popleft()
                line.bytes -= _bytes(arguments[1:])
            try:
                method(*arguments)
            except ConnectionClosed:
                pass
            except Exception as error:
                connection._fail(error)


def _bytes(details: tuple[Any, ...]) -> int:
    """How much of a message or of its part waits with a call."""
    return len(details[0]) if details and isinstance(details[0], bytes | str) else 0
