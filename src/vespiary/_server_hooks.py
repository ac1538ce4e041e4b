"""The hooks of a server's own life: `on_start` and `on_stop`, once for each handler."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from vespiary._site import Site
from vespiary.handler import Handler

if TYPE_CHECKING:
    from vespiary.server import Server

__all__ = ["call_hook", "stop_handlers"]

logger = logging.getLogger("vespiary")


def call_hook(site: Site, name: str, server: Server) -> Any:
    """Call a handler's hook of the server's own life."""
    return getattr(site.handler, name)(server) if isinstance(site.handler, Handler) else None


async def stop_handlers(
    sites: Sequence[Site], server: Server, force: asyncio.Event | None = None
) -> None:
    """Call and await every handler's `on_stop`, until `force` ends everything at once."""
    done: list[object] = []
    for site in sites:
        if any(site.handler is handler for handler in done):
            continue
        done.append(site.handler)
        try:
            result = call_hook(site, "on_stop", server)
            if isawaitable(result):
                await _unless(force, result)
        except Exception:
            logger.exception("on_stop failed on %s", site.url)


async def _unless(force: asyncio.Event | None, awaited: Awaitable[object]) -> None:
    """Await something until everything is to end at once."""
    task = asyncio.ensure_future(awaited)
    if force is None:
        await task
        return
    forced = asyncio.ensure_future(force.wait())
    await asyncio.wait({task, forced}, return_when=asyncio.FIRST_COMPLETED)
    forced.cancel()
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=1.0)
    if task.done() and not task.cancelled():
        task.result()
