"""Slow methods and tasks of handlers, in asyncio's debug mode.

In one turn the engine calls many plain methods, and wakes many tasks that wait for a message. For
asyncio this is one step of the loop, or one callback of ours. So each of them is timed separately,
and logged like a slow callback of asyncio.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vespiary._callbacks import is_async

if TYPE_CHECKING:
    from vespiary._core import Hooks

__all__ = ["timed", "timed_callback"]

logger = logging.getLogger("asyncio")

_NAMES = (
    "request",
    "open",
    "message",
    "part",
    "datagram",
    "drain",
    "subscribe",
    "unsubscribe",
    "end",
    "shutdown",
    "close",
    "limit",
)


def timed(hooks: Hooks, loop: asyncio.AbstractEventLoop) -> Hooks:
    """The same hooks, which log those that take longer than `loop.slow_callback_duration`."""
    hooks = hooks.copy()
    for name in _NAMES:
        hook = getattr(hooks, name)
        if hook is not None:
            setattr(hooks, name, _timed(hook, loop))
    hooks.step = _step_timer(loop)
    if hooks.timer is None:
        hooks.timer = lambda connection, callback, _: _timed(callback, loop)(connection)
    return hooks


def timed_callback(
    callback: Callable[[], object], loop: asyncio.AbstractEventLoop
) -> Callable[[], object]:
    """The same for a callback; outside of debug mode as it is."""
    if not loop.get_debug() or not inspect.isroutine(callback) or is_async(callback):
        return callback
    return _timed(callback, loop)


def _step_timer(loop: asyncio.AbstractEventLoop) -> Callable[[object, float], None]:
    """Logs long steps of tasks that the engine wakes by itself, as asyncio logs the others."""

    def step(woken: object, seconds: float) -> None:
        if seconds >= loop.slow_callback_duration:
            task = getattr(woken, "__self__", woken)
            logger.warning("Executing %r took %.3f seconds", task, seconds)

    return step


def _timed(hook: Callable[..., Any], loop: asyncio.AbstractEventLoop) -> Callable[..., Any]:
    @functools.wraps(hook)
    def call(*arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return hook(*arguments)
        finally:
            took = time.perf_counter() - began
            if took >= loop.slow_callback_duration:
                logger.warning("Executing %s took %.3f seconds", _described(hook), took)

    return call


def _described(hook: Callable[..., Any]) -> str:
    """Its name and its place in the program."""
    function = inspect.unwrap(hook)
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or repr(function)
    code = getattr(function, "__code__", None)
    place = f" at {code.co_filename}:{code.co_firstlineno}" if code is not None else ""
    return f"{name}(){place}"
