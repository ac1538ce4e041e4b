"""Coroutines whose first step runs even if their task is cancelled before it.

asyncio raises a cancellation at the point where a coroutine waits. A coroutine that has not begun
ends without having run at all, including its `try` and `finally`. A coroutine that must undo or
report something therefore begins anyway, and is cancelled where it waits for the first time.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar, cast

__all__ = ["Begins"]

_T = TypeVar("_T")


class Begins(Coroutine[Any, Any, _T]):
    """Runs a coroutine, and begins it before a cancellation reaches it.

    Args:
        coroutine: The coroutine, which has not begun.
        shown: The coroutine of the program's that it runs, which asyncio's debug mode names.
    """

    __slots__ = ("_coroutine", "_has_begun", "shown")

    def __init__(self, coroutine: Coroutine[Any, Any, _T], shown: object = None) -> None:
        self._coroutine = coroutine
        self._has_begun = False
        self.shown = shown

    def send(self, value: Any) -> Any:
        """Run until it waits; StopIteration at its end (PEP 342)."""
        self._has_begun = True
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise an exception where it waits; where it has not begun, where it waits first."""
        if not self._has_begun:
            awaited = self.send(None)
            if _is_cancellation(error[0]) and asyncio.isfuture(awaited):
                # As Task.cancel does: the future that it awaits is cancelled, and the await raises.
                if awaited.cancel(*getattr(error[0], "args", ())[:1]):
                    return awaited
                awaited._asyncio_future_blocking = False
        return self._coroutine.throw(*error)

    def close(self) -> None:
        """End it."""
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, _T]:
        return self._coroutine.__await__()

    def __getattr__(self, name: str) -> Any:
        # asyncio describes a task by its coroutine's name, code and frame.
        shown = self.shown
        if inspect.iscoroutine(shown) and name != "cr_running":
            return getattr(shown, name)
        return cast("Any", getattr(self._coroutine, name))


def _is_cancellation(error: object) -> bool:
    is_class = isinstance(error, type) and issubclass(error, asyncio.CancelledError)
    return is_class or isinstance(error, asyncio.CancelledError)
