"""What `MODULE:OBJECT` has named, as a handler, an application or a filter."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

import vespiary
from vespiary.errors import ConfigurationError
from vespiary.filters import Filter, FilterFactory
from vespiary.handler import AsyncHandler

__all__ = ["as_filter", "as_handler", "as_served"]

_FOR: dict[str, tuple[str, ...]] = {
    "access_log": ("ASGI", "WSGI"),
    "root_path": ("ASGI", "WSGI"),
    "lifespan": ("ASGI",),
    "threads": ("WSGI",),
}
"""The options of applications, and the interfaces that have each."""


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def as_served(
    found: Any,
    reference: str,
    options: Mapping[str, Any],
    label: Callable[[str], str] = _option,
) -> vespiary.Handler | AsyncHandler:
    """What `MODULE:OBJECT` gave, as a handler: an ASGI or WSGI application is made into one.

    Args:
        found: The object.
        reference: How it was named.
        options: Those for applications that were given, by name.
        label: How an option is written; default: as one of the command line.

    Raises:
        ConfigurationError: it cannot be served, or an option has no effect on it.
    """
    kind = _kind(found)
    for name in options:
        if kind not in _FOR[name]:
            raise ConfigurationError(
                f"{label(name)} is for {' and '.join(_FOR[name])} applications, and"
                f" {reference} is not one",
                subject=name,
            )
    if kind == "ASGI":
        return vespiary.ASGI(found, **options)
    if kind == "WSGI":
        return vespiary.WSGI(found, **options)
    if kind == "ASGI 2":
        raise ConfigurationError(
            f"{reference} is an ASGI 2 application: name an ASGI 3 application, such as"
            " asgiref.compatibility.guarantee_single_callable(app)",
            subject=reference,
        )
    if kind == "factory" and inspect.isfunction(found):
        name = reference.rpartition(":")[2]
        raise ConfigurationError(
            f"{reference} is a function without arguments, so it seems to make an application: name"
            f" the application itself, for which a line such as app = {name}() is enough",
            subject=reference,
        )
    return as_handler(found, reference)


def _kind(found: object) -> str:
    from vespiary.http._kinds import kind_of

    is_class = inspect.isclass(found) and issubclass(found, vespiary.Handler)
    return "handler" if is_class or isinstance(found, vespiary.Handler) else kind_of(found)


def as_handler(found: object, reference: str) -> vespiary.Handler | AsyncHandler:
    """What `MODULE:OBJECT` gave, as something that can be served.

    Raises:
        ConfigurationError: it is neither a handler, nor a subclass of `Handler`, nor an async
            function.
    """
    if inspect.isclass(found) and issubclass(found, vespiary.Handler):
        try:
            inspect.signature(found).bind()
        except TypeError as error:
            raise ConfigurationError(
                f"{reference} cannot be created without arguments ({error}):"
                " name an instance of it instead",
                subject=reference,
            ) from None
        return found()
    if isinstance(found, vespiary.Handler):
        return found
    # An object whose `__call__` is async is a handler. Its class is not: a call of it only makes
    # the object.
    call = None if inspect.isclass(found) else getattr(type(found), "__call__", None)  # noqa: B004
    if inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(call):
        return cast("AsyncHandler", found)
    raise ConfigurationError(
        f"{reference} is {_described(found)}: it must be a vespiary.Handler, a subclass of "
        "it, an async function that takes a connection, or an ASGI or WSGI application",
        subject=reference,
    )


def as_filter(found: object, reference: str) -> FilterFactory:
    """What `MODULE:OBJECT` gave, as something that makes filters.

    Raises:
        ConfigurationError: it is neither a subclass of `Filter` nor another callable.
    """
    if isinstance(found, Filter) or not callable(found):
        raise ConfigurationError(
            f"{reference} is {_described(found)}: it must be a subclass of vespiary.Filter, "
            "or a function that returns a new filter for each connection",
            subject=reference,
        )
    return cast("FilterFactory", found)


def _described(found: object) -> str:
    if inspect.isclass(found):
        return f"the class {found.__name__}"
    if inspect.isfunction(found):
        return "a plain function"
    return f"an object of type {type(found).__name__}"
