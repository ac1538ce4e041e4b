"""Which hooks of a handler are called, for which connection, in which order."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from vespiary._core import Connection
from vespiary.handler import AnyHandler, Handler

__all__ = ["Calls", "watch_calls"]

_WATCHED = ("on_open", "on_message", "on_part", "on_close")


class Calls:
    """The calls of a handler's hooks, by connection."""

    def __init__(self) -> None:
        self.by_connection: dict[Connection[Any], list[str]] = {}

    def faults(self) -> Iterator[str]:
        """What is wrong with them."""
        for calls in self.by_connection.values():
            if calls.count("on_close") != 1:
                yield f"on_close was called {calls.count('on_close')} times: {calls}"
            elif calls[-1] != "on_close":
                yield f"hooks were called after on_close: {calls}"

    def watched(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """A hook whose calls are noted."""

        def note(connection: Connection[Any]) -> None:
            self.by_connection.setdefault(connection, []).append(name)

        if inspect.iscoroutinefunction(method):

            @functools.wraps(method)
            async def later(connection: Connection[Any], *details: Any) -> Any:
                note(connection)
                return await method(connection, *details)

            return later

        @functools.wraps(method)
        def now(connection: Connection[Any], *details: Any) -> Any:
            note(connection)
            return method(connection, *details)

        return now


@contextlib.contextmanager
def watch_calls(handler: AnyHandler) -> Iterator[tuple[AnyHandler, Calls]]:
    """Note the calls of a handler's hooks. An async function has none."""
    calls = Calls()
    made = handler() if isinstance(handler, type) else handler
    defined = []
    if isinstance(made, Handler) and hasattr(made, "__dict__"):
        defined = [
            name for name in _WATCHED if getattr(type(made), name) is not getattr(Handler, name)
        ]
        # The check is about on_close: a handler without one needs no watching.
        if "on_close" not in defined:
            defined = []
    try:
        for name in defined:
            setattr(made, name, calls.watched(name, getattr(made, name)))
        yield made, calls
    finally:
        for name in defined:
            delattr(made, name)
