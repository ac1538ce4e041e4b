"""Asynchronous filters: the task that works on bytes, while the native side keeps their order.

There is one task at most for each direction of a connection. What arrives meanwhile waits before
the filters, and what is sent waits in the write queue; so a filter that takes its time holds back
the peer and the sender, and not other connections.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Coroutine
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vespiary._core import Connection

__all__ = ["start_filtering"]


def start_filtering(
    connection: Connection,
    filtering: Coroutine[object, None, bytes | None],
    is_sent: bool,
) -> asyncio.Task[bytes | None]:
    """Let filters continue in a task; the connection keeps it, and cancels it at its end."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(filtering, context=connection._context)
    task.add_done_callback(functools.partial(_end, connection, is_sent))
    return task


def _end(connection: Connection, is_sent: bool, task: asyncio.Task[bytes | None]) -> None:
    if task.cancelled():
        # At the connection's end; a task that was cancelled otherwise can pass on nothing.
        connection._filtered(is_sent, None, asyncio.CancelledError("the filter was cancelled"))
        return
    error = task.exception()
    connection._filtered(is_sent, None if error else task.result(), error)
