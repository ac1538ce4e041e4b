"""What the calls of an application have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from vespiary.http._eager import Starter

__all__ = ["ASGIApplication", "Hosting", "is_cancelled"]

ASGIApplication = Callable[[Any, Any, Any], Awaitable[object]]
"""An ASGI 3 application: an async callable that takes `scope`, `receive` and `send`."""


@dataclass(slots=True, eq=False)
class Hosting:
    """An application that is served.

    Attributes:
        app: The application.
        has_access_log: Whether each request is logged.
        calls: The calls that have not ended.
        state: What the application has put into the state of its lifespan.
        starter: Begins the tasks of the calls.
    """

    app: ASGIApplication
    has_access_log: bool = False
    calls: set[object] = field(default_factory=set)
    state: dict[str, Any] = field(default_factory=dict)
    starter: Starter = field(default_factory=Starter)


def is_cancelled(error: BaseException) -> bool:
    """Whether an exception is the cancellation of the current task, or the close of its coroutine.

    An application may also raise CancelledError for something else that was cancelled.
    """
    if isinstance(error, GeneratorExit):
        return True
    if not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
