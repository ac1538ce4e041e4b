"""A marked function in a traced run: while its mark is disabled, it is not called.

What it gives instead is of the same kind: a coroutine, a generator or an asynchronous generator
stays one, and its mark is reached when it begins to run, not when it is made. A disabled generator
gives nothing, or what its `disabled` has.

To see whether a test looks at a result at all, a run may replace it by an object that is not None,
but false, and equal to itself only; or, to see whether it looks at more than the type, by another
result of this type.
"""

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any

from vespiary_trace.another import Replaced, Results

if TYPE_CHECKING:
    from vespiary_trace.probes import Slot

__all__ = ["probed"]


def probed(function: Callable[..., Any], slot: "Slot", disabled: object) -> Callable[..., Any]:
    """The function with its mark.

    Args:
        function: It.
        slot: Of its mark.
        disabled: Its result while the mark is disabled; of a generator, what it gives then, or None
            if that is nothing.
    """
    if inspect.iscoroutinefunction(function):
        return _coroutine(function, slot, disabled)
    if inspect.isasyncgenfunction(function):
        return _asynchronous_generator(function, slot, disabled)
    if inspect.isgeneratorfunction(function):
        return _generator(function, slot, disabled)

    results = Results(function)

    @functools.wraps(function)
    def probe(*arguments: Any, **named: Any) -> Any:
        slot.count(True)
        if slot.disabled:
            return _result(slot, results, disabled)
        return results.keep(function(*arguments, **named))

    return probe


def _result(slot: "Slot", results: Results, disabled: object) -> object:
    if slot.is_another:
        return results.another()
    return Replaced() if slot.is_replaced else disabled


def _items(slot: "Slot", disabled: object) -> Iterable[object]:
    if slot.is_replaced or slot.is_another:
        return [Replaced()]
    return disabled if isinstance(disabled, Iterable) else ()


def _coroutine(function: Callable[..., Any], slot: "Slot", disabled: object) -> Callable[..., Any]:
    results = Results(function)

    @functools.wraps(function)
    async def probe(*arguments: Any, **named: Any) -> Any:
        slot.count(True)
        if slot.disabled:
            return _result(slot, results, disabled)
        return results.keep(await function(*arguments, **named))

    return probe


def _generator(function: Callable[..., Any], slot: "Slot", disabled: object) -> Callable[..., Any]:
    @functools.wraps(function)
    def probe(*arguments: Any, **named: Any) -> Generator[Any, Any, Any]:
        slot.count(True)
        if slot.disabled:
            yield from _items(slot, disabled)
            return None
        return (yield from function(*arguments, **named))

    return probe


def _asynchronous_generator(
    function: Callable[..., Any], slot: "Slot", disabled: object
) -> Callable[..., Any]:
    @functools.wraps(function)
    async def probe(*arguments: Any, **named: Any) -> AsyncGenerator[Any, Any]:
        slot.count(True)
        if slot.disabled:
            for result in _items(slot, disabled):
                yield result
            return
        inner = function(*arguments, **named)
        try:
            result = await anext(inner)
            while True:
                try:
                    sent = yield result
                except GeneratorExit:
                    await inner.aclose()
                    raise
                except BaseException as error:  # As `yield from` has it.
                    result = await inner.athrow(error)
                else:
                    result = await inner.asend(sent)
        except StopAsyncIteration:
            return

    return probe
