"""Functions that Vespiary calls, and whether it has to await what they return."""

from __future__ import annotations

import functools
import inspect
from types import CoroutineType

__all__ = ["check_callback", "is_async", "may_be_async", "refuse_coroutine"]


def is_async(function: object) -> bool:
    """Return whether calling an object gives a coroutine."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(type(function), "__call__", None)  # noqa: B004 - The question is what kind it is.
    )


def may_be_async(function: object) -> bool:
    """Return whether calling an object may give a coroutine: it is async, or decorates what is.

    A decorator's plain wrapper returns the coroutine of the async function in it, and says by
    `__wrapped__` what that is (`functools.wraps`). Only a call shows whether it awaits it itself.
    """
    while isinstance(function, functools.partial):
        function = function.func
    if not callable(function):
        return False
    return is_async(inspect.unwrap(function, stop=is_async))


def refuse_coroutine(function: object, result: object) -> None:
    """Check what a hook or a callback has returned, where nobody awaits it.

    Raises:
        TypeError: it is a coroutine, which would never run.
    """
    if not isinstance(result, CoroutineType):
        return
    result.close()
    name = getattr(function, "__qualname__", repr(function))
    raise TypeError(
        f"{name} returned the coroutine {result.__qualname__}, which nobody awaits, so it would"
        " never run: make the hook async def (with functools.wraps in its decorators), or start a"
        " task with asyncio.create_task()"
    )


def check_callback(owner: str, function: object) -> None:
    """Check a function that is called once and not awaited.

    Args:
        owner: What takes it, for the error's text.
        function: The function.

    Raises:
        TypeError: it cannot be called, or calling it would do nothing.
    """
    if not callable(function):
        raise TypeError(f"{owner} takes a function; got {function!r}")
    if is_async(function):
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(
            f"{owner} takes a plain function, which it does not await, and {name} is async, so it"
            " would never run: let a plain function start a task with asyncio.create_task()"
        )
