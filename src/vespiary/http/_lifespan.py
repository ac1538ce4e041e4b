"""The lifespan of an ASGI application: its startup before the server accepts, and its shutdown.

One task runs the application's lifespan from the start of the server to its stop. An application
that does not support the protocol raises an exception, which is not an error unless the option
`lifespan` is `"on"`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from vespiary.errors import ApplicationFailed
from vespiary.http._hosting import Hosting
from vespiary.http._messages import message_type, out_of_order
from vespiary.http._scope import ASGI_VERSIONS

__all__ = ["Lifespan"]

logger = logging.getLogger("vespiary")

_STARTUP = ("lifespan.startup.complete", "lifespan.startup.failed")
_SHUTDOWN = ("lifespan.shutdown.complete", "lifespan.shutdown.failed")
_END_SECONDS = 5.0
"""How long the application may take to return after its last message."""


class Lifespan:
    """The lifespan of one run of a server.

    Args:
        hosting: The application.
        is_required: Whether it is an error that the application does not support lifespans.
    """

    def __init__(self, hosting: Hosting, *, is_required: bool) -> None:
        loop = asyncio.get_running_loop()
        self._hosting = hosting
        self._is_required = is_required
        self._started: asyncio.Future[str | None] = loop.create_future()
        self._asked_to_stop: asyncio.Future[None] = loop.create_future()
        self._stopped: asyncio.Future[str | None] = loop.create_future()
        self._received = 0
        self._task = loop.create_task(self._run(), name="the lifespan of an ASGI application")

    async def start(self) -> None:
        """Wait for the application's startup.

        Raises:
            ApplicationFailed: it has failed; or the application does not support lifespans, and
                that is required.
        """
        try:
            await self._wait(self._started)
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        if self._started.done():
            failure = self._started.result()
            if failure is None:
                self._task.add_done_callback(self._ended)
                return
            error = await self._end()
            raise ApplicationFailed(failure) from error
        error = None if self._task.cancelled() else self._task.exception()
        what = f"raised {error!r}" if error is not None else "returned without an answer"
        if self._is_required:
            raise ApplicationFailed(f"its lifespan {what}") from error
        logger.info(
            "The application does not support the lifespan protocol: it %s (lifespan='on' makes"
            " this an error)",
            what,
        )

    async def stop(self) -> None:
        """Let the application shut down, and wait for it."""
        if self._task.done():
            return
        self._asked_to_stop.set_result(None)
        try:
            await self._wait(self._stopped)
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        if self._stopped.done() and self._stopped.result() is not None:
            logger.error("The application's shutdown failed: %s", self._stopped.result())
        await self._end()

    async def _wait(self, outcome: asyncio.Future[str | None]) -> None:
        """Wait for an outcome, or for the end of the task."""
        awaited: set[asyncio.Future[Any]] = {self._task, outcome}
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)

    async def _run(self) -> None:
        scope: dict[str, Any] = {
            "type": "lifespan",
            "asgi": ASGI_VERSIONS,
            "state": self._hosting.state,
        }
        await self._hosting.app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        self._received += 1
        if self._received == 1:
            return {"type": "lifespan.startup"}
        # A third message never comes; this waits until the task is cancelled.
        loop = asyncio.get_running_loop()
        awaited = self._asked_to_stop if self._received == 2 else loop.create_future()
        await asyncio.shield(awaited)
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: dict[str, Any]) -> None:
        kind = message_type(message)
        if not self._started.done():
            self._settle(self._started, kind, message, _STARTUP, "the startup is not complete")
        elif not self._asked_to_stop.done():
            raise out_of_order(kind, (), "the application has not been asked to shut down")
        elif not self._stopped.done():
            self._settle(self._stopped, kind, message, _SHUTDOWN, "the shutdown is not complete")
        else:
            raise out_of_order(kind, (), "the shutdown is complete")

    @staticmethod
    def _settle(
        outcome: asyncio.Future[str | None],
        kind: str,
        message: dict[str, Any],
        expected: tuple[str, str],
        state: str,
    ) -> None:
        if kind not in expected:
            raise out_of_order(kind, expected, state)
        is_failure = kind == expected[1]
        outcome.set_result(str(message.get("message") or "no message") if is_failure else None)

    async def _end(self) -> BaseException | None:
        """Let the task end; what it has raised."""
        await asyncio.wait({self._task}, timeout=_END_SECONDS)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_END_SECONDS)
        if not self._task.done() or self._task.cancelled():
            return None
        return self._task.exception()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The task has ended after a startup that was complete."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not (self._stopped.done() and self._stopped.result() is not None):
            logger.error("The application's lifespan failed", exc_info=error)
