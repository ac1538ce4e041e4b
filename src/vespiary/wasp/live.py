"""The WebSocket of the dashboard: it sends the present numbers every second.

They are gathered while someone looks, once for all who do.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from vespiary.errors import ConnectionClosed, WriteQueueFull
from vespiary.handler import Handler
from vespiary.wasp.access import Access

if TYPE_CHECKING:
    from vespiary._core import Connection
    from vespiary.errors import CloseReason
    from vespiary.request import Request, Response
    from vespiary.server import Server

__all__ = ["Live"]

logger = logging.getLogger("vespiary.wasp")

_SECONDS = 1.0
_VIEWERS_MAX = 100
_QUEUED_BYTES_MAX = 1 << 18
"""A browser that does not read this much is skipped until it does."""


class Live(Handler):
    """Sends what `snapshot` returns to all who are connected."""

    def __init__(self, access: Access, snapshot: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._access, self._snapshot = access, snapshot
        self._viewers: set[Connection] = set()
        self._task: asyncio.Task[None] | None = None

    def on_request(self, request: Request) -> Response:
        """Accept those who may look."""
        foreign = self._access.foreign(request)
        if foreign is not None:
            return foreign
        if self._access.who(request) is None:
            return request.respond(401, "log in first\n")
        if len(self._viewers) >= _VIEWERS_MAX:
            return request.respond(503, "there are too many viewers\n")
        return request.accept()

    def on_open(self, connection: Connection) -> None:
        """Send to one more."""
        self._viewers.add(connection)
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._send())

    def on_message(self, connection: Connection, message: str | bytes) -> None:
        """Browsers have nothing to say."""

    def on_close(self, connection: Connection, reason: CloseReason) -> None:
        """Send to one less."""
        del reason
        self._viewers.discard(connection)

    def on_stop(self, server: Server) -> None:
        """Send no more."""
        del server
        if self._task is not None:
            self._task.cancel()

    async def _send(self) -> None:
        try:
            while self._viewers:
                text = json.dumps(await self._snapshot())
                for one in list(self._viewers):
                    if one.queued_bytes < _QUEUED_BYTES_MAX:
                        _send_to(one, text)
                await asyncio.sleep(_SECONDS)
        except Exception:
            logger.exception("The dashboard is not updated until a page is loaded again")


def _send_to(connection: Connection, text: str) -> None:
    try:
        connection.send(text)
    except (ConnectionClosed, WriteQueueFull):
        # It is about to end, or reads too slowly: the next numbers replace these.
        return
