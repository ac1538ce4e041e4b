"""Which interface an application has, by how it is called.

An ASGI 3 application takes `scope`, `receive` and `send`, and is async. A WSGI application takes
`environ` and `start_response`. Both are functions or objects with `__call__`. What takes nothing
makes an application, and what takes a scope alone is one of ASGI 2.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal

from vespiary._callbacks import is_async
from vespiary.errors import ConfigurationError

__all__ = ["Kind", "check_application", "kind_of"]

Kind = Literal["ASGI", "WSGI", "ASGI 2", "factory", "handler", "unknown"]

_ADVICE: dict[Kind, str] = {
    "ASGI 2": "it is an ASGI 2 application, which takes a scope alone: convert it with"
    " asgiref.compatibility.guarantee_single_callable(app)",
    "factory": "it takes no arguments, so it seems to be a function that makes an application:"
    " call it, and pass what it returns",
    "handler": "it takes one argument, so it seems to be a handler: pass it to serve() itself",
    "unknown": "it cannot be called like one",
}
_TAKES = {"ASGI": "scope, receive and send", "WSGI": "environ and start_response"}


def kind_of(found: object) -> Kind:
    """Return which interface an object has; `handler` for an async function of one argument."""
    if inspect.isclass(found):
        return _kind_of_class(found)
    if not callable(found):
        return "unknown"
    takes = functools.partial(_takes, found)
    if is_async(_innermost(found)):
        return "ASGI" if takes(3) else "factory" if takes(0) else "handler"
    if takes(2):
        return "WSGI"
    # A decorator's plain wrapper may return the coroutine of what it wraps.
    if takes(3):
        return "ASGI"
    if takes(0):
        return "factory"
    return "ASGI 2" if takes(1) and _parameters(found)[:1] == ["scope"] else "unknown"


def _kind_of_class(found: type[Any]) -> Kind:
    """The kind of a class: one of ASGI 2 is made with a scope, others make applications."""
    call = found.__dict__.get("__call__")
    if call is not None and is_async(call) and _takes(call, 3) and not _takes(call, 4):
        # The object itself counts too: `self`, `receive` and `send`.
        return "ASGI 2"
    if hasattr(found, "__iter__") and _takes(found, 2):
        # Each object of it is the iterable of a response.
        return "WSGI"
    return "factory"


def _innermost(found: Any) -> Any:
    """What a decorator wraps, where it says so."""
    while isinstance(found, functools.partial):
        found = found.func
    return inspect.unwrap(found, stop=is_async)


def _parameters(found: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(found).parameters)


def _takes(found: Callable[..., Any], count: int) -> bool:
    """Whether an object can be called with so many arguments."""
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        # A function written in C may have none.
        return False
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def check_application(app: object, wanted: Literal["ASGI", "WSGI"]) -> None:
    """Check that an object is an application.

    What cannot be looked into, such as a function written in C, is taken as it is.

    Raises:
        ConfigurationError: it is not; the text says what it seems to be.
    """
    kind = kind_of(app)
    is_opaque = kind == "unknown" and callable(app) and not _has_signature(app)
    if kind == wanted or is_opaque:
        return
    advice = _ADVICE.get(kind) or f"it is a {kind} application: use vespiary.{kind}(app)"
    raise ConfigurationError(
        f"{wanted} takes a callable with {_TAKES[wanted]}; got {app!r:.200}: {advice}",
        subject="app",
        value=app,
    )


def _has_signature(found: Callable[..., Any]) -> bool:
    try:
        inspect.signature(found)
    except (TypeError, ValueError):
        return False
    return True
