"""Tasks that begin at once, and exist only where a coroutine has to wait.

Most requests are answered without waiting for anything, and a task of asyncio's costs more than the
rest of such a call. CPython 3.12 has tasks that begin at once (`eager_start`). For CPython 3.11,
one spare task waits for a coroutine that needs it:

1. The coroutine's first step runs at once, while the spare task counts as the current one; so
   `asyncio.current_task()`, `asyncio.timeout` and anyio's scopes find a task.
2. Where the coroutine ends in this step, the spare task is there for the next one.
3. Where it suspends, the spare task takes it over: it waits for what the coroutine waits for, and
   runs its further steps. It is an ordinary task from then on, and the next coroutine gets another.

The coroutine runs in a context of its own in all of its steps, as in a task.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Coroutine, Generator
from typing import Any

__all__ = ["Starter"]

_NOTHING = object()


class _Spare(Coroutine[Any, Any, None]):
    """What a spare task runs: nothing, until it takes a coroutine over."""

    __slots__ = ("_awaited", "_context", "_coroutine", "_gate", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._coroutine: Coroutine[Any, Any, None] | None = None
        self._context: contextvars.Context | None = None
        self._awaited: Any = _NOTHING
        self._gate: asyncio.Future[None] | None = None
        self.task: asyncio.Task[None] = loop.create_task(self, name="a spare task")

    def begin(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]) -> bool:
        """Run the first step of a coroutine; whether it waits, and this task has taken it over."""
        context = contextvars.copy_context()
        _enter_task(loop, self.task)
        try:
            awaited = context.run(coroutine.send, None)
        except StopIteration:
            return False
        finally:
            _leave_task(loop, self.task)
        self.take_over(coroutine, context, awaited)
        return True

    def take_over(
        self,
        coroutine: Coroutine[Any, Any, None],
        context: contextvars.Context,
        awaited: object,
    ) -> None:
        """Run the further steps of a coroutine, which waits for something now."""
        self._coroutine, self._context, self._awaited = coroutine, context, awaited
        if self._gate is not None and not self._gate.done():
            self._gate.set_result(None)

    @property
    def is_usable(self) -> bool:
        """Whether nobody has cancelled the task in a step that it has lent itself to."""
        return not self.task.done() and not self.task.cancelling()

    def send(self, value: Any) -> Any:
        """Run until the coroutine waits; until there is one, wait for it."""
        if self._coroutine is None:
            self._gate = self.task.get_loop().create_future()
            self._gate._asyncio_future_blocking = True
            return self._gate
        if self._awaited is not _NOTHING:
            awaited, self._awaited = self._awaited, _NOTHING
            return awaited
        assert self._context is not None
        return self._context.run(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        """Raise an exception where the coroutine waits."""
        if self._coroutine is None or self._context is None:
            raise error[0]
        if self._awaited is not _NOTHING:
            awaited, self._awaited = self._awaited, _NOTHING
            if asyncio.isfuture(awaited):
                # As Task.cancel does: what it waits for is cancelled, and raises where it waits.
                if awaited.cancel():
                    return awaited
                awaited._asyncio_future_blocking = False
        return self._context.run(self._coroutine.throw, *error)

    def close(self) -> None:
        """End the coroutine."""
        if self._coroutine is not None:
            self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        # asyncio and anyio describe a task by its coroutine's name, code and frame.
        if self._coroutine is None:
            raise AttributeError(name)
        return getattr(self._coroutine, name)


class Starter:
    """Begins the tasks of one application."""

    __slots__ = ("_spare",)

    def __init__(self) -> None:
        self._spare: _Spare | None = None

    def begin(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None] | None:
        """Run a coroutine until it waits; the task that it has then, None where it has ended."""
        loop = asyncio.get_running_loop()
        if loop.get_task_factory() is not None:
            return loop.create_task(coroutine, name=name)
        if sys.version_info >= (3, 12):
            task = asyncio.Task(coroutine, loop=loop, name=name, eager_start=True)
            return None if task.done() else task
        if asyncio.current_task(loop) is not None:
            return loop.create_task(coroutine, name=name)
        spare = self.spare(loop)
        if not spare.begin(loop, coroutine):
            return None
        return self._give_away(spare, name)

    def spare(self, loop: asyncio.AbstractEventLoop) -> _Spare:
        """Return the spare task, to be lent to a coroutine."""
        spare = self._spare
        if spare is None or not spare.is_usable or spare.task.get_loop() is not loop:
            spare = self._spare = _Spare(loop)
        return spare

    def hand_over(
        self,
        spare: _Spare,
        coroutine: Coroutine[Any, Any, None],
        context: contextvars.Context,
        awaited: object,
        name: str,
    ) -> asyncio.Task[None]:
        """Let the spare task run the further steps of a coroutine, to which it was lent."""
        spare.take_over(coroutine, context, awaited)
        return self._give_away(spare, name)

    def _give_away(self, spare: _Spare, name: str) -> asyncio.Task[None]:
        if self._spare is spare:
            self._spare = None
        spare.task.set_name(name)
        return spare.task

    def end(self) -> None:
        """End the spare task."""
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.task.cancel()
