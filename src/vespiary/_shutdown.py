"""The graceful shutdown of a server's connections.

1. The listeners are closed, so that new clients are refused. What peers have sent is received.
2. Each connection may finish. If the handler has `on_shutdown`, it is called, and the connections
   continue until they end by themselves. A coroutine gets the messages that were already received,
   and then its iteration ends; what the peer sends meanwhile is dropped, except control frames.
   Work in progress continues: an async `on_request`, `on_message` or `on_close`, and the `finally`
   blocks of a coroutine. Other connections, and those whose coroutine only waits for the end, are
   closed after their queued messages (1001 on WebSocket). If calls of the handler run on threads,
   the connection is closed after these calls; if a message in parts is being sent, after its last
   part. If others accept connections from the same sockets, as after a reload, connections whose
   handshake has only begun complete it first.
3. Before `drain_seconds` are over, the remaining connections are closed with 1001, and their tasks
   are cancelled. After `drain_seconds` they are reset. The last quarter of this time, but at most
   `close_seconds` and at least a second, is for the close frames. Tasks that ignore their
   cancellation are cancelled again, five times in all, and are left running at the end of this
   time. An `on_close` that a reset has caused gets one more second.

After a second signal everything is reset, every task is cancelled, and what has not ended one
second later is left running. No step waits for a single connection, so one that hangs does not
delay the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from vespiary._core import cue_stop
from vespiary._counted import counted
from vespiary._site import Site
from vespiary._task_names import described
from vespiary.close_code import CloseCode
from vespiary.request import Response, native_response

if TYPE_CHECKING:
    from vespiary._core import Connection
    from vespiary._listening import ListeningAddress

__all__ = ["CANCEL_SECONDS", "Shutdown", "leave"]

logger = logging.getLogger("vespiary")

_TEXT = "the server is going away"
_TURNS = 3
"""Turns of the loop: one that asks the kernel, one that handles, and one for tasks."""
_CLOSING_TURNS_MAX = 100
"""In so many turns a listener has closed, and has passed on every connection before."""
_POLL_SECONDS = 0.01
_BUSY_SHARE = 0.1
"""At most this share of the time goes into looking at connections."""
_CLOSE_SECONDS = 1.0
"""What close frames get at least."""
CANCEL_SECONDS = 1.0
"""How long a task that was cancelled has to end, before it is cancelled again or left running."""
_CANCELS_MAX = 5
"""How often one task is cancelled."""


class _Draining:
    """An endpoint whose connections are ending."""

    def __init__(self, site: Site, began: float, seconds: float | None) -> None:
        self.site = site
        self.deadline: float | None = None
        self.drain_seconds = seconds
        self.close_seconds = 0.0
        if seconds is not None:
            self.limit(began, seconds)
        self.reset_at: float | None = None
        self.is_cut = False
        self.is_reset = False
        self.cancel_at = 0.0
        self.cancel_seconds = 0.0
        self.leave_at = 0.0
        self.cancels: dict[asyncio.Task[Any], int] = {}
        self.left: set[asyncio.Task[Any]] = set()
        self.answering: list[Connection] = []
        self.working: list[Connection] = []
        self.has_handshakes = False
        self._seen: set[Connection] = set()

    def limit(self, began: float, seconds: float) -> None:
        """Let it end within `seconds`, unless it ends earlier anyway."""
        most = self.site.deadlines.close_seconds
        close_seconds = seconds / 4 if most is None else min(seconds / 4, most)
        deadline = began + seconds - close_seconds
        if self.deadline is None or deadline < self.deadline:
            self.deadline, self.drain_seconds = deadline, seconds
            least = _CLOSE_SECONDS if most is None else min(_CLOSE_SECONDS, most)
            self.close_seconds = max(close_seconds, least)

    def cue(self, connections: Sequence[Connection]) -> None:
        """Let each connection end in its handler's way."""
        states = [(self._cue(one), one) for one in connections]
        self.answering = [one for state, one in states if state == "answering"]
        self.working = [one for state, one in states if state in {"working", "sending"}]

    def begin(self, *, keep_handshakes: bool) -> None:
        """Let all connections end, or first complete their handshakes."""
        assert self.site.native is not None
        self.has_handshakes = self.site.native.close_unseen(keep_handshakes) > 0
        connections = self.site.native.connections_of_handler()
        if self.has_handshakes:
            self._seen = set(connections)
        self.cue(connections)

    def look(self) -> None:
        """Look again at connections that could not end yet, and at those that have opened."""
        waiting = self.answering + self.working
        if self.has_handshakes:
            assert self.site.native is not None
            self.has_handshakes = self.site.native.close_unseen(True) > 0
            connections = self.site.native.connections_of_handler()
            waiting += [one for one in connections if one not in self._seen]
            self._seen = set(connections)
        if waiting:
            self.cue(waiting)

    def _cue(self, connection: Connection) -> str:
        if self._is_working(connection):
            return "working"
        state = cue_stop(connection, CloseCode.GOING_AWAY, _TEXT)
        if state == "cue":
            try:
                shutdown = self.site.hooks.shutdown
                assert shutdown is not None
                connection._context.run(shutdown, connection)
            except BaseException as error:
                connection._fail(error)
        return state

    def _is_working(self, connection: Connection) -> bool:
        """Whether calls on threads are in progress that the close has to wait for.

        An `on_shutdown` is such a call itself, and comes behind the others.
        """
        threads = self.site.threads
        if threads is None or threads.hooks.shutdown is not None or not connection.is_open:
            return False
        return threads.is_finishing(connection)

    def leave_within(self, now: float, seconds: float) -> None:
        """Let tasks end within `seconds`, and leave those running that do not.

        They are cancelled again after a second, or after half of the time, and then in equal
        steps.
        """
        first = min(CANCEL_SECONDS, seconds / 2)
        self.cancel_at = now + first
        self.cancel_seconds = (seconds - first) / (_CANCELS_MAX - 1)
        self.leave_at = now + seconds

    def cancel(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        """Cancel tasks, but none too often."""
        for task in tasks:
            count = self.cancels.get(task, 0)
            if count < _CANCELS_MAX:
                self.cancels[task] = count + 1
                task.cancel()

    def leave(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        """Leave tasks running, and log them."""
        tasks = set(tasks)
        logger.error(
            "Still running after %s, which it ignored: %s on %s: %s",
            counted(max(self.cancels.get(task, 0) for task in tasks), "cancellation"),
            counted(len(tasks), "task"),
            self.site.url,
            described(tasks),
        )
        leave(tasks)
        self.left |= tasks

    @property
    def count(self) -> int:
        """How many connections it has."""
        return self.site.native.connection_count if self.site.native is not None else 0


def _counts(connections: int, tasks: int) -> str:
    """What there is of the two, in words; nothing where there is neither."""
    pairs = ((connections, "connection"), (tasks, "task"))
    return " and ".join(counted(count, noun) for count, noun in pairs if count)


def leave(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Wait no more for tasks that ignore their cancellation, where they have not ended.

    `asyncio.Runner` would wait for them without a limit, as it cancels every task that asyncio
    knows when it ends. They have been reported: nothing more is logged when they are collected.
    """
    for task in tasks:
        if not task.done():
            asyncio._unregister_task(task)
            task._log_destroy_pending = False  # type: ignore[attr-defined]


class Shutdown:
    """Ends the connections and tasks of a server's endpoints.

    Args:
        sites: The endpoints; their listeners are closed already.
        drain_seconds: How long connections may take; None: each endpoint's own `drain_seconds`.
        force: Set when everything must end at once.
        subject: What stops, for the log, where the server continues.
        addresses: What has listened for them. Their last connections may still be on their way.
        is_handed_over: Others accept connections from the same sockets. Clients that have connected
            just before must not notice, so their handshakes and first requests are completed.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        drain_seconds: float | None,
        force: asyncio.Event,
        subject: str = "",
        *,
        addresses: Sequence[ListeningAddress] = (),
        is_handed_over: bool = False,
    ) -> None:
        self._addresses = addresses
        self._is_handed_over = is_handed_over
        self._subject = f" {subject}" if subject else ""
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._force = force
        self._is_forced = False
        self._draining = [
            _Draining(
                site,
                self._began,
                site.deadlines.drain_seconds if drain_seconds is None else drain_seconds,
            )
            for site in sites
            if site.native is not None
        ]

    def shorten(self, drain_seconds: float) -> None:
        """Let the drain end in so many seconds, where it would take longer."""
        for one in self._draining:
            one.limit(self._loop.time(), drain_seconds)

    async def run(self) -> None:
        """Return when no connection and no task is left.

        A cancellation ends everything at once: the loop itself ends then.
        """
        for one in self._draining:
            assert one.site.native is not None
            one.site.native.begin_shutdown()
        await self._receive()
        self._begin()
        while True:
            try:
                await self._finish()
            except asyncio.CancelledError:
                self._force.set()
            else:
                break
        logger.info("Stopped%s after %.1f s", self._subject, self._loop.time() - self._began)

    async def _receive(self) -> None:
        """Receive what peers sent before the stop, which is in the kernel if the loop was busy.

        Otherwise a request that has arrived would get a reset for an answer.
        """
        try:
            for turn in range(_CLOSING_TURNS_MAX):
                if turn >= _TURNS and all(one.is_closed for one in self._addresses):
                    break
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self._force.set()

    def _begin(self) -> None:
        self._log_start()
        for one in self._draining:
            one.begin(keep_handshakes=self._is_handed_over)

    async def _finish(self) -> None:
        while True:
            began = self._loop.time()
            left = [one for one in self._draining if self._advance(one, began)]
            if not left:
                return
            spent = self._loop.time() - began
            await asyncio.sleep(max(_POLL_SECONDS, spent / _BUSY_SHARE))

    def _log_start(self) -> None:
        count = sum(one.count for one in self._draining)
        tasks = sum(len(one.site.tasks()) for one in self._draining)
        seconds = [one.drain_seconds for one in self._draining if one.drain_seconds is not None]
        limit = f"for up to {min(seconds):g} s" if seconds else "without a limit"
        left = _counts(count, tasks)
        if left:
            logger.info("Stopping%s: waiting %s for %s to finish", self._subject, limit, left)
        else:
            logger.info("Stopping%s", self._subject)

    def _advance(self, one: _Draining, now: float) -> bool:
        """Do what is due for an endpoint; whether anything of it is left."""
        if self._force.is_set() and not one.is_reset:
            if not self._is_forced:
                self._is_forced = True
                logger.warning("Stopping at once, because of a second request")
            self._reset(one, now)
        one.look()
        count = one.count
        tasks = one.site.tasks() - one.left if count == 0 or one.is_cut else set()
        is_busy = one.site.threads is not None and one.site.threads.is_busy
        if count == 0 and not tasks and not is_busy:
            return False
        if not one.is_cut:
            if one.deadline is not None and now >= one.deadline:
                self._cut(one, now)
        elif not one.is_reset and one.reset_at is not None and now >= one.reset_at:
            self._reset(one, now)
        elif tasks and now >= one.leave_at:
            one.leave(tasks)
        elif tasks and now >= one.cancel_at:
            one.cancel_at += one.cancel_seconds
            one.cancel(tasks)
        elif count == 0 and not tasks and now >= (one.reset_at or now):
            assert one.site.threads is not None
            one.site.threads.abandon(one.site.url)
            return False
        return True

    def _cut(self, one: _Draining, now: float) -> None:
        """End what the drain has left, with close frames."""
        one.is_cut = True
        one.reset_at = now + one.close_seconds
        assert one.site.native is not None
        tasks = one.site.tasks()
        one.has_handshakes = False
        one.site.native.close_unseen(False)
        left = _counts(one.count, len(tasks)) or "calls on threads"
        logger.warning("The time to finish is over: ending %s on %s", left, one.site.url)
        answering = set(one.answering)
        for connection in one.site.native.connections_of_handler():
            if connection in answering:
                headers = (("Retry-After", "1"), ("Connection", "close"))
                late = Response(503, headers, b"the server is stopping\n")
                connection._answer(native_response(late))
            else:
                connection.close(CloseCode.GOING_AWAY, _TEXT)
        one.leave_within(now, one.close_seconds)
        one.cancel(tasks)

    def _reset(self, one: _Draining, now: float) -> None:
        """Reset what did not end after its close frame."""
        one.is_cut = one.is_reset = True
        one.reset_at = now
        if one.count:
            logger.warning("Resetting %s on %s", counted(one.count, "connection"), one.site.url)
            assert one.site.native is not None
            one.site.native.abort_connections()
            one.leave_within(now, CANCEL_SECONDS)
        if self._is_forced:
            one.leave_within(now, CANCEL_SECONDS)
            one.cancel(one.site.tasks())
