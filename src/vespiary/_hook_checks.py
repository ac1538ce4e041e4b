"""Find mistakes in a handler because of which something would silently not happen.

A misspelt method is never called. If the `__call__` of an object is the handler, its `on_request`
is not called either. For example, an authentication check would never run. So everything that looks
like a hook must be one, must accept the arguments of a hook, and must be plain if it is not
awaited.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from typing import Any

from vespiary._callbacks import is_async
from vespiary._other_names import OTHER_HOOKS
from vespiary._suggestions import advice
from vespiary.errors import ConfigurationError
from vespiary.handler import Handler

__all__ = ["HOOKS", "check_function", "check_handler"]

HOOKS: dict[str, tuple[str, ...]] = {
    "on_start": ("server",),
    "on_request": ("request",),
    "on_open": ("connection",),
    "on_message": ("connection", "message"),
    "on_part": ("connection", "part", "last", "text"),
    "on_datagram": ("datagram",),
    "on_drain": ("connection",),
    "on_subscribe": ("connection", "topic"),
    "on_unsubscribe": ("connection", "topic"),
    "on_end": ("connection",),
    "on_shutdown": ("connection",),
    "on_close": ("connection", "reason"),
    "on_limit": ("name", "value"),
    "on_stop": ("server",),
}
"""Every hook, and the names of its parameters."""

_PLAIN = ("on_part", "on_drain", "on_subscribe", "on_unsubscribe", "on_end", "on_limit")
"""The hooks that are called and never awaited."""


def check_handler(handler: Handler[Any]) -> None:
    """Check the methods of a `Handler`.

    Raises:
        ConfigurationError: one of them would never be called, or could not be.
    """
    owner = type(handler).__name__
    if "__call__" in dir(type(handler)):
        raise ConfigurationError(
            f"{owner} is a Handler, so its __call__ would never be called: handle the "
            "connection in its methods, or write an async function instead of the class",
            subject="__call__",
        )
    names = list(_looks_like_a_hook(handler))
    for name in names:
        if name not in HOOKS:
            raise ConfigurationError(
                f"{owner}.{name} is not a hook and would never be called:"
                f" {advice(name, HOOKS, OTHER_HOOKS)} (the name of your own method must not "
                "begin with on_)",
                subject=name,
            )
        _check_hook(owner, name, getattr(handler, name))
    if {"on_part", "on_message"} <= set(names):
        raise ConfigurationError(
            f"{owner} has both on_part and on_message, but only one of them can be called for "
            "a message: remove one (if a base class has it: on_message = "
            "vespiary.Handler.on_message)",
            subject="on_part",
        )


def check_function(handler: Any) -> None:
    """Check an async function, or an object with an async `__call__`.

    Raises:
        ConfigurationError: it does not take a connection, or has methods that are never called.
    """
    if not inspect.isroutine(handler) and not isinstance(handler, functools.partial):
        for name in _looks_like_a_hook(handler):
            raise ConfigurationError(
                f"{type(handler).__name__} has an async __call__, so {name} would"
                " never be called: subclass vespiary.Handler, and put what __call__ does in its"
                " methods",
                subject=name,
            )
    fault = _parameter_fault(handler, ("connection",))
    if fault is not None:
        raise ConfigurationError(
            f"a handler that is an async function takes a connection: {_name(handler)} {fault}",
            subject="handler",
            value=handler,
        )


def _looks_like_a_hook(handler: object) -> Iterator[str]:
    """Names of attributes that were meant as hooks, `Handler`'s own aside."""
    meant = {name.replace("_", "") for name in HOOKS}
    for name in dir(handler):
        if not (name.startswith("on_") or name.replace("_", "").lower() in meant):
            continue
        inherited = getattr(Handler, name, None)
        if inherited is None or inspect.getattr_static(handler, name) is not inherited:
            yield name


def _check_hook(owner: str, name: str, method: object) -> None:
    if not callable(method):
        raise ConfigurationError(
            f"{owner}.{name} is {method!r}, which cannot be called: define a method, or remove it",
            subject=name,
            value=method,
        )
    if inspect.isasyncgenfunction(method) or inspect.isgeneratorfunction(method):
        raise ConfigurationError(
            f"{owner}.{name} contains a yield, so calling it would do nothing", subject=name
        )
    if name in _PLAIN and is_async(method):
        raise ConfigurationError(
            f"{owner}.{name} is async, but this hook is not awaited: make it a plain method; "
            "it may start a task",
            subject=name,
        )
    fault = _parameter_fault(method, HOOKS[name])
    if fault is not None:
        raise ConfigurationError(f"{owner}.{name} {fault}", subject=name)


def _parameter_fault(function: Any, parameters: tuple[str, ...]) -> str | None:
    """What is wrong with a function that is called with these; None if nothing is."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        # A built-in function may have no signature.
        return None
    try:
        signature.bind(*parameters)
    except TypeError:
        return f"is called with ({', '.join(parameters)}), and is defined with {signature}"
    return None


def _name(handler: Any) -> str:
    return getattr(handler, "__qualname__", type(handler).__name__)
