"""What a log calls a handler's task: its coroutine, and the peer that it serves."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Iterable
from typing import Any, cast

from vespiary._core import Connection
from vespiary._logging import address_text
from vespiary._printable import escaped

__all__ = ["described"]

_NAMED_MAX = 5


def described(tasks: Iterable[asyncio.Task[Any]]) -> str:
    """Name tasks for one line of a log; of many, the first few."""
    names = sorted(_name(task) for task in tasks)
    more = len(names) - _NAMED_MAX
    text = ", ".join(names[:_NAMED_MAX])
    return f"{text} and {more} more" if more > 0 else text


def _name(task: asyncio.Task[Any]) -> str:
    coroutine = cast("Any", task.get_coro())
    name = getattr(coroutine, "__qualname__", type(coroutine).__qualname__)
    peer = _peer(getattr(coroutine, "cr_frame", None))
    return escaped(f"{name} (peer {peer})") if peer else escaped(name)


def _peer(frame: types.FrameType | None) -> str:
    """The peer of the connection that a handler was called with."""
    if frame is None:
        return ""
    connections = [value for value in frame.f_locals.values() if isinstance(value, Connection)]
    return address_text(connections[0].peer) if connections else ""
