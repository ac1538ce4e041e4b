"""What `MODULE:OBJECT` has named, as a handler or a filter."""

import inspect
from typing import cast

import vespiary
from vespiary.errors import ConfigurationError
from vespiary.filters import Filter, FilterFactory
from vespiary.handler import AsyncHandler

__all__ = ["as_filter", "as_handler"]


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
    # An object may have an async `__call__`; a class that has one is not itself async.
    call = None if inspect.isclass(found) else getattr(type(found), "__call__", None)  # noqa: B004
    if inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(call):
        return cast("AsyncHandler", found)
    raise ConfigurationError(
        f"{reference} is {_described(found)}: it must be a vespiary.Handler, a subclass of "
        "it, or an async function that takes a connection",
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
