"""Vespiary in an asyncio loop that is not its own: the stock loop, uvloop, a notebook's.

The engine has one descriptor that is readable while it has something to do, and knows after how
long its next deadline is due. The loop watches the one with `add_reader` and keeps the other with
`call_at`; its callback takes a turn of the engine, which does not wait. What a task sends in
between schedules a turn with `call_soon`, so that all that the loop's tasks send in one iteration
leaves together, as in Vespiary's own loop. Anything else that is asked for makes the descriptor
readable.

A signal's handler may raise between any two steps of Python code, and a turn that is not taken
would stop all connections. So the loop calls Python code through `Core.guarded`, which is not
Python code: after an exception it has another turn taken, and that arranges again what is missing.

References between objects decide when it ends. asyncio has no hook for the end of a loop, but a
loop releases its readers when it is closed, and they alone hold the guest; the guest's end closes
the engine. The usual end comes before: `asyncio.run` and `asyncio.Runner` close the asynchronous
generators that the loop has seen, and the guest has one that waits for nothing else. Everything
else that refers to a guest does it weakly.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import logging
import os
import weakref
from collections.abc import AsyncGenerator

from vespiary._core import Core
from vespiary.loop._driver import driver_of_environment
from vespiary.loop._loop import Loop

__all__ = ["running_core"]

logger = logging.getLogger("vespiary")

_SECONDS_LEAST = 0.001
"""Engine and loops count deadlines in milliseconds."""
_EARLY_SECONDS = 0.002
"""By how much a loop may call a timer too early: uvloop rounds to milliseconds."""


class Guest:
    """An engine in a loop that is not ours."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.core = Core(driver_of_environment(), is_guest=True)
        self._loop = weakref.ref(loop)
        self._context = contextvars.Context()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._descriptor = -1
        self.is_in_child = False
        """The engine and the reader are the parent's: a child may share the loop's epoll instance
        with its parent."""
        self._at_shutdown = _close_at_shutdown(weakref.ref(self))
        with contextlib.suppress(StopIteration):
            # Its first step is what tells the loop of it.
            self._at_shutdown.__anext__().__await__().send(None)
        self.core.attach(loop, functools.partial(_schedule, weakref.ref(self)))
        self._watch(loop)
        logger.debug("In a loop of %s: %s", type(loop).__qualname__, self.core.choice)

    @property
    def is_closed(self) -> bool:
        """Whether its engine has ended."""
        return self._descriptor < 0

    def schedule(self) -> None:
        """Take a turn in the loop's next iteration."""
        loop = self._loop()
        if loop is not None and not loop.is_closed():
            loop.call_soon(self.core.guarded, self._turn, context=self._context)

    def close(self) -> None:
        """End the engine: connections are reset, listeners closed."""
        if self.is_closed or self.is_in_child:
            return
        loop, descriptor = self._loop(), self._descriptor
        self._descriptor = -1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if loop is not None and not loop.is_closed():
            loop.remove_reader(descriptor)
        self.core.close()

    def __del__(self) -> None:
        # It is made in the loop's thread, and can end in another only if that is over.
        with contextlib.suppress(AttributeError, RuntimeError):
            self.close()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        descriptor = self.core.fileno()
        if descriptor != self._descriptor:
            # The reader keeps the context in which it was added.
            self._context.run(loop.add_reader, descriptor, self.core.guarded, self._turn)
            before, self._descriptor = self._descriptor, descriptor
            if before >= 0:
                loop.remove_reader(before)

    def _turn(self) -> None:
        if self.is_closed or self.is_in_child:
            return
        self._rest(self.core.turn())

    def _rest(self, rest: float | None) -> None:
        loop = self._loop()
        if loop is None or self.is_closed:
            return
        if rest == 0.0:
            self.schedule()
        elif rest is not None:
            now = loop.time()
            due = now + max(rest, _SECONDS_LEAST)
            # A timer that is early costs a turn; one for every turn would cost more. One that is
            # due may have fired and been interrupted.
            is_due = self._due < now + _EARLY_SECONDS
            if self._timer is None or due < self._due or is_due:
                timed = functools.partial(_timed, weakref.ref(self))
                guarded = self.core.guarded
                timer = loop.call_at(due, guarded, timed, context=self._context)
                before, self._timer, self._due = self._timer, timer, due
                if before is not None:
                    before.cancel()
        self._watch(loop)

    def timed(self) -> None:
        """Take the turn that a deadline asks for."""
        self._timer = None
        self._turn()


def _schedule(reference: weakref.ref[Guest]) -> None:
    guest = reference()
    if guest is not None:
        guest.schedule()


def _timed(reference: weakref.ref[Guest]) -> None:
    guest = reference()
    if guest is not None:
        guest.timed()


async def _close_at_shutdown(reference: weakref.ref[Guest]) -> AsyncGenerator[None]:
    """Close the guest when the loop's asynchronous generators are closed."""
    try:
        yield
    finally:
        guest = reference()
        if guest is not None:
            guest.close()


_guests: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[Guest]] = (
    weakref.WeakKeyDictionary()
)


def _after_fork() -> None:
    for reference in _guests.values():
        guest = reference()
        if guest is not None:
            guest.is_in_child = True


os.register_at_fork(after_in_child=_after_fork)


def running_core() -> Core:
    """The engine of the running loop: its own, or that of a guest, made when it is first needed.

    Raises:
        RuntimeError: no loop runs in this thread.
        DriverUnavailable: the driver that `VESPIARY_DRIVER` asks for does not work here.
        NotImplementedError: the loop cannot watch descriptors.
    """
    loop = asyncio.get_running_loop()
    if isinstance(loop, Loop) and loop.own_core is not None:
        return loop.own_core
    reference = _guests.get(loop)
    guest = reference() if reference is not None else None
    if guest is None or guest.is_closed:
        guest = Guest(loop)
        _guests[loop] = weakref.ref(guest)
    return guest.core
