"""Marks: which line implements which requirement, for `vespiary trace`.

This package needs nothing but Python, on any platform, and imports in a few milliseconds.
`requires` encloses the condition that must be true for the code to do what a requirement demands.
Without a condition it is a statement above code that always does so. `implements` stands above a
function:

    if requires("rfc9112/3.2/4", hosts != 1):
        raise Refused(400)

    requires("rfc6455/7.2.3/1")
    await asyncio.sleep(delay)

    @implements("rfc6455/10.2/1", disabled=True)
    def origin_is_allowed(origin: str) -> bool: ...

They are probes where the environment variable VESPIARY_TRACE named a file when this module was
imported: they count in that file how often they were reached and how often they acted. While the
file says that a mark is disabled, a condition is false, a function is not called, and a statement
raises `Disabled`.

In any other run `implements` returns the function itself, and `requires` is one call that returns
its condition. Where that is too much, `unmarked` above a function takes its marks out, so that a
mark is its condition (as it is, without `bool`) and a statement is nothing:

    @unmarked
    def accept(frame: Frame) -> None:
        if requires("rfc6455/5.1/4", not frame.masked): ...
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:  # The module `typing` takes longer to import than all that is here.
    from collections.abc import Callable
    from typing import Any, TypeVar

    _Function = TypeVar("_Function", bound=Callable[..., Any])

__all__ = ["VARIABLE", "Disabled", "implements", "requires", "unmarked"]

VARIABLE = "VESPIARY_TRACE"
"""The environment variable that names the shared file."""


_GENERATORS = 0x20 | 0x200
"""The flags of code that is a generator or an asynchronous one (inspect.CO_GENERATOR, ...)."""


class Disabled(Exception):
    """A mark without a condition was reached while `vespiary trace prove` had disabled it."""


def requires(*marked: object) -> bool:
    """Mark the code that does what the requirements demand.

    `requires(id, ..., condition)` returns `condition`, and False while the mark is disabled in a
    traced run. `requires(id, ...)` is a statement above code without a condition.

    Raises:
        Disabled: a statement was reached while its mark is disabled in a traced run.
    """
    return bool(marked[-1])  # An identifier is true.


def implements(*ids: str, disabled: object = None) -> "Callable[[_Function], _Function]":
    """Mark a function that does what the requirements demand.

    While the mark is disabled in a traced run, the function is not called: `disabled` is its result
    instead. A coroutine function stays one. A generator stays one, too: it gives what `disabled`
    has, or nothing. In any other run the function itself is given back.

    Raises:
        TypeError: What it stands above is not a function: a class, or the result of a decorator
            such as `@classmethod` or `@property`, which belongs above it. Or it is a generator, and
            `disabled` is a single value.
    """
    del ids

    def marked(function: "_Function") -> "_Function":
        return checked(function, disabled)

    return marked


def checked(function: "_Function", disabled: object) -> "_Function":
    """Give back what `implements` stands above.

    Raises:
        TypeError: It is not a function that `disabled` may replace in a traced run.
    """
    is_function = isinstance(function, type(checked))
    is_generator = is_function and function.__code__.co_flags & _GENERATORS
    if is_generator and disabled is not None and not hasattr(disabled, "__iter__"):
        raise TypeError(
            f"@implements stands above {function.__qualname__}, a generator function:"
            f" disabled= must be what it gives instead, as in disabled=(); got {disabled!r}"
        )
    if is_function:
        return function
    kind = "a class" if isinstance(function, type) else f"an object of {type(function).__name__}"
    raise TypeError(
        f"@implements stands above {kind}, not a function: write it directly above def, below"
        " other decorators"
    )


def unmarked(function: "_Function") -> "_Function":
    """Take the marks out of a function, except in a traced run.

    It must be directly above `def`, below other decorators. A function whose source is not
    available, or that cannot be compiled alone (it has names that its class mangles), is returned
    as it is.
    """
    from vespiary_trace.unmarking import without_marks

    return without_marks(function)


if os.environ.get(VARIABLE):
    from vespiary_trace.probes import Probes, Table

    _probes = Probes(Table(os.environ[VARIABLE]))
    requires = _probes.requires
    implements = _probes.implements

    def unmarked(function: "_Function") -> "_Function":
        """Leave the marks where they are: this is a traced run."""
        return function
