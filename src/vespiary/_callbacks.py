"""Functions that Vespiary calls and does not await: an async one would never run."""

from __future__ import annotations

import functools
import inspect

__all__ = ["check_callback", "is_async"]


def is_async(function: object) -> bool:
    """Return whether calling an object gives a coroutine."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(type(function), "__call__", None)  # noqa: B004 - The question is what kind it is.
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
