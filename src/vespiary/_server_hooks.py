"""The hooks of a server's own life: `on_start` and `on_stop`, once for each handler.

They run in the server's context, of which every connection gets a copy: handlers see the context
variables that `on_start` has set, and the caller of `start` does not.

The end of a server comes after its hooks and after its handlers. So one of them that awaits
`server.stop()` would wait for itself, and `stop` asks `is_within`. A context variable answers, for
tasks that the hook or the handler has made too, since that may wait for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections.abc import Awaitable, Callable, Sequence, Set
from contextvars import Context, ContextVar, Token
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from vespiary._first_step import Begins
from vespiary._shutdown import CANCEL_SECONDS, leave
from vespiary._site import Site
from vespiary.handler import Handler

if TYPE_CHECKING:
    from vespiary._life import Life
    from vespiary.server import Server

__all__ = [
    "Hook",
    "begin_hook",
    "cancel_start",
    "end_hooks",
    "end_loop",
    "is_of_run",
    "is_within",
    "mark_handlers",
    "settled",
    "start_handler",
    "stop_handlers",
]

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("vespiary")

Hook = asyncio.Task[BaseException | None]
"""An async hook that runs. Its result is the KeyboardInterrupt or SystemExit that it has raised,
which would end the loop at once if the task raised it."""


class _Mark:
    """What a run of a server has called: a hook until that ends, or any of its handlers."""

    __slots__ = ("is_over", "life", "outer")

    def __init__(self, life: Life, outer: _Mark | None) -> None:
        self.life = weakref.ref(life)
        self.outer = outer
        self.is_over = False


_mark: ContextVar[_Mark | None] = ContextVar("vespiary_server", default=None)
_probe: ContextVar[object] = ContextVar("vespiary_probe")


def is_within(life: Life) -> bool:
    """Whether a run's handlers, or a hook that has not ended, have called what runs now."""
    mark = _mark.get()
    while mark is not None:
        if mark.life() is life:
            return not mark.is_over
        mark = mark.outer
    return False


def is_of_run(life: Life) -> bool:
    """Whether a run's hooks or handlers, or tasks of theirs, have called what runs now."""
    mark = _mark.get()
    while mark is not None and mark.life() is not life:
        mark = mark.outer
    return mark is not None


def mark_handlers(life: Life) -> None:
    """Mark everything that connections call from now on."""
    _in_context(life.context, lambda: _mark.set(_Mark(life, _mark.get())))


def _in_context(context: Context, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a context, which may be the current one: that cannot be entered again."""
    token = _probe.set(object())
    try:
        is_current = context.get(_probe) is _probe.get()
    finally:
        _probe.reset(token)
    if is_current:
        return function(*args, **kwargs)
    return context.run(function, *args, **kwargs)


def begin_hook(life: Life, site: Site, name: str, server: Server) -> Hook | None:
    """Call a handler's hook in the server's context; return the task of an async one."""
    if not isinstance(site.handler, Handler):
        return None
    method = getattr(site.handler, name)

    def call() -> tuple[object, _Mark, Token[_Mark | None]]:
        mark = _Mark(life, _mark.get())
        token = _mark.set(mark)
        try:
            result = method(server)
        except BaseException:
            _end(mark, token)
            raise
        if not isawaitable(result):
            _end(mark, token)
        return result, mark, token

    result, mark, token = _in_context(life.context, call)
    if not isawaitable(result):
        return None
    coroutine = Begins(_run(result, mark, token), shown=result)
    task = life.loop.create_task(coroutine, name=f"{name} on {site.url}", context=life.context)
    life.hooks.add(task)
    task.add_done_callback(life.hooks.discard)
    return task


async def _run(
    awaited: Awaitable[object], mark: _Mark, token: Token[_Mark | None]
) -> BaseException | None:
    try:
        await awaited
    except (KeyboardInterrupt, SystemExit) as error:
        return error
    finally:
        _end(mark, token)
    return None


def _end(mark: _Mark, token: Token[_Mark | None]) -> None:
    # Tasks that the hook has started keep its context. When they stop the server later, they are
    # not inside of the hook any more.
    mark.is_over = True
    # A hook that never finished is ended by the garbage collector, in another context.
    with contextlib.suppress(ValueError):
        _mark.reset(token)


async def settled(hook: Hook) -> None:
    """Wait for a hook, and raise what it raised; a cancellation cancels it."""
    fatal = await hook
    if fatal is not None:
        raise fatal


async def start_handler(life: Life, site: Site, server: Server) -> bool:
    """Call and await a handler's `on_start`; False where the server's stop has cancelled it."""
    hook = begin_hook(life, site, "on_start", server)
    if hook is None:
        return True
    limit = asyncio.timeout(None)
    life.start_hook, life.start_limit = hook, limit
    try:
        async with limit:
            if life.stopping:
                life.limit_start(site.deadlines.drain_seconds)
            # A cancellation ends this wait, even if the hook suppresses its own cancellation.
            await asyncio.wait({hook})
    except TimeoutError:
        _cancel_start(hook)
    finally:
        life.start_hook = life.start_limit = None
        if not hook.done():
            hook.cancel()
            await end_hooks({hook})
    is_ended_by_stop = hook.cancelled() and life.stopping
    if not limit.expired() and not is_ended_by_stop:
        await settled(hook)
    elif hook.done() and not hook.cancelled():
        with contextlib.suppress(TimeoutError):
            await settled(hook)
    return not limit.expired() and not is_ended_by_stop


def cancel_start(life: Life) -> None:
    """Cancel the `on_start` that is awaited, as its server stops, unless it asks for that itself.

    It continues when it has asked for the stop, and so do tasks of its own that it may wait for.
    """
    if life.start_hook is not None and not is_within(life):
        _cancel_start(life.start_hook)


def _cancel_start(hook: Hook) -> None:
    if not hook.done() and not hook.cancelling():
        logger.warning("Cancelling %s, because the server stops", hook.get_name())
        hook.cancel()


async def end_hooks(hooks: Set[Hook], waiting: Set[asyncio.Task[None]] = frozenset()) -> None:
    """Wait a second for cancelled hooks, and for what waits for them; leave the others running."""
    hooks = set(hooks)
    tasks: set[asyncio.Task[Any]] = {*hooks, *waiting}
    if not tasks:
        return
    try:
        await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
    finally:
        names = sorted(hook.get_name() for hook in hooks if not hook.done())
        if names:
            logger.error("Still running, because it ignored its cancellation: %s", ", ".join(names))
        leave(tasks)


async def stop_handlers(life: Life, sites: Sequence[Site], server: Server) -> BaseException | None:
    """Call and await every handler's `on_stop`, until `force` ends everything at once.

    Even if one of them raises, the others are called. Returns the KeyboardInterrupt or SystemExit
    that one has raised, for when everything has ended.
    """
    fatal: BaseException | None = None
    done: list[object] = []
    for site in sites:
        if any(site.handler is handler for handler in done):
            continue
        done.append(site.handler)
        try:
            hook = begin_hook(life, site, "on_stop", server)
            if hook is not None:
                await _unless(life.force, hook)
        except (KeyboardInterrupt, SystemExit) as error:
            fatal = fatal or error
        except BaseException:
            logger.exception("on_stop failed on %s", site.url)
    return fatal


def end_loop(loop: asyncio.AbstractEventLoop, fatal: BaseException) -> None:
    """Let the loop end with a KeyboardInterrupt or SystemExit.

    A task of ours that raised it would end the loop too, and asyncio would log that nobody has
    retrieved the task's exception.
    """

    def end() -> None:
        raise fatal

    loop.call_soon(end)


async def _unless(force: asyncio.Event, hook: Hook) -> None:
    """Await a hook until everything is to end at once, which a cancellation asks for too."""
    forced = asyncio.ensure_future(force.wait())
    try:
        await asyncio.wait({hook, forced}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        force.set()
    forced.cancel()
    is_ended = hook.done()
    if not is_ended:
        hook.cancel()
        await end_hooks({hook})
    if hook.done() and (is_ended or not hook.cancelled()):
        await settled(hook)
