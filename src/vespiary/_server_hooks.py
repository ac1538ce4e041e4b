"""The hooks of a server's own life: `on_start` and `on_stop`, once for each handler.

A hook that awaits `server.stop()` would wait for itself, as the stop ends after it. So `stop` asks
`is_within_hook`, which a context variable answers for tasks that the hook has made too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Iterator, Sequence
from contextvars import ContextVar
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from vespiary._site import Site
from vespiary.handler import Handler

if TYPE_CHECKING:
    from vespiary._life import Life
    from vespiary.server import Server

__all__ = ["call_hook", "is_within_hook", "start_handler", "stop_handlers", "within_hook"]

logger = logging.getLogger("vespiary")

_CANCEL_SECONDS = 1.0


class _Running:
    """A hook that runs, and the one within which its server was started or stopped."""

    def __init__(self, server: Server, outer: _Running | None) -> None:
        self.server: Server | None = server
        self.outer = outer


_running: ContextVar[_Running | None] = ContextVar("vespiary_server_hook", default=None)


@contextlib.contextmanager
def within_hook(server: Server) -> Iterator[None]:
    """Mark the time in which a hook of the server is called and awaited."""
    running = _Running(server, _running.get())
    token = _running.set(running)
    try:
        yield
    finally:
        # Tasks that the hook has made keep its context, and may stop the server later.
        running.server = None
        _running.reset(token)


def is_within_hook(server: Server) -> bool:
    """Whether the caller is in a server's `on_start` or `on_stop`, which has not ended."""
    running = _running.get()
    while running is not None:
        if running.server is server:
            return True
        running = running.outer
    return False


def call_hook(site: Site, name: str, server: Server) -> Any:
    """Call a handler's hook of the server's own life."""
    return getattr(site.handler, name)(server) if isinstance(site.handler, Handler) else None


async def start_handler(life: Life, site: Site, server: Server) -> bool:
    """Call and await a handler's `on_start`; False where the server's stop has cancelled it."""
    with within_hook(server):
        result = call_hook(site, "on_start", server)
        if not isawaitable(result):
            return True
        limit = asyncio.timeout(None)
        try:
            async with limit:
                life.start_limit = limit
                if life.stopping:
                    life.limit_start(site.deadlines.drain_seconds)
                await result
        except TimeoutError:
            if not limit.expired():
                raise
            logger.warning("on_start was cancelled, as the server stops: %s", site.url)
        finally:
            life.start_limit = None
        return not limit.expired()


async def stop_handlers(
    sites: Sequence[Site], server: Server, force: asyncio.Event
) -> BaseException | None:
    """Call and await every handler's `on_stop`, until `force` ends everything at once.

    Whatever one of them raises, the others are called. Returns the KeyboardInterrupt or SystemExit
    that a plain one has raised, for when everything has ended.
    """
    fatal: BaseException | None = None
    done: list[object] = []
    for site in sites:
        if any(site.handler is handler for handler in done):
            continue
        done.append(site.handler)
        try:
            with within_hook(server):
                result = call_hook(site, "on_stop", server)
                if isawaitable(result):
                    await _unless(force, result)
        except BaseException as error:
            logger.exception("on_stop failed on %s", site.url)
            if isinstance(error, KeyboardInterrupt | SystemExit):
                fatal = fatal or error
    return fatal


async def _unless(force: asyncio.Event, awaited: Awaitable[object]) -> None:
    """Await something until everything is to end at once, which a cancellation asks for too."""
    task = asyncio.ensure_future(awaited)
    forced = asyncio.ensure_future(force.wait())
    try:
        await asyncio.wait({task, forced}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        force.set()
    forced.cancel()
    is_ended = task.done()
    if not is_ended:
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_SECONDS)
    if task.done() and (is_ended or not task.cancelled()):
        task.result()
