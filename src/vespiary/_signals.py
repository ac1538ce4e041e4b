"""SIGINT and SIGTERM while servers run.

A loop has one set of signal handlers, so all servers of a loop share them: a signal stops each of
them. The handlers are ours from the first server's `async with` until the last of these servers has
stopped; then those of before are back, asyncio.Runner's for SIGINT among them.

A signal asks the program to end, not only its servers. So once the servers have stopped, the signal
is raised again for the handler of before: `asyncio.run` cancels its main task and raises
KeyboardInterrupt, and SIGTERM ends the process. A program that waits for the end of one of them
(`wait_stopped`, `stop`, leaving the `async with`) goes on by itself, and nothing is raised there.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

__all__ = ["Signals", "join_signals"]

logger = logging.getLogger("vespiary")

_NUMBERS = (signal.SIGINT, signal.SIGTERM)

_Handler = Callable[[int, FrameType | None], Any] | int | None


class Stoppable(Protocol):
    """A server."""

    def stop_soon(self) -> None:
        """Begin to stop; a second call ends everything at once."""


class Signals:
    """The handlers of a loop for SIGINT and SIGTERM, from the first `join` to the last `leave`.

    A handler that the program has given to the loop itself (`add_signal_handler`) stays: that
    program ends its servers itself.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, _Handler] = {}
        self._ours: dict[signal.Signals, _Handler] = {}
        self._servers: list[Stoppable] = []
        self._received: signal.Signals | None = None
        self._is_awaited = False

    def join(self, server: Stoppable) -> None:
        """Let signals stop a server."""
        if not self._servers:
            self._install()
        self._servers.append(server)

    def leave(self, server: Stoppable, *, is_awaited: bool) -> None:
        """A server has stopped.

        Args:
            server: The server.
            is_awaited: Whether the program waits for its end.
        """
        self._servers.remove(server)
        self._is_awaited |= is_awaited and self._received is not None
        if not self._servers:
            self._restore()
            self._raise_again()

    def _install(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _NUMBERS:
            before = signal.getsignal(number)
            if _belongs_to(loop, before):
                continue
            try:
                loop.add_signal_handler(number, self._signalled, number)
            except NotImplementedError:
                return
            self._before[number] = before
            self._ours[number] = signal.getsignal(number)

    def _restore(self) -> None:
        """Put the handlers of before back, where the program has not set others since."""
        loop = asyncio.get_running_loop()
        for number, before in self._before.items():
            now = signal.getsignal(number)
            loop.remove_signal_handler(number)
            if now != self._ours[number]:
                before = now
            if before is not None:
                signal.signal(number, before)
        self._before.clear()
        self._ours.clear()

    def _signalled(self, number: signal.Signals) -> None:
        again = " again" if self._received is not None else ""
        count = len(self._servers)
        servers = f", stopping {count} servers" if count > 1 else ""
        logger.info("Received %s%s%s", number.name, again, servers)
        self._received = number
        for server in list(self._servers):
            server.stop_soon()

    def _raise_again(self) -> None:
        number, is_awaited = self._received, self._is_awaited
        self._received, self._is_awaited = None, False
        if number is None or is_awaited:
            return
        logger.info("Nothing waits for the server's end: raising %s again", number.name)
        # Not here: what a handler raises belongs to the program, and not to the task that stops.
        asyncio.get_running_loop().call_soon(_raise, number)


def _belongs_to(loop: asyncio.AbstractEventLoop, handler: _Handler) -> bool:
    """Whether the loop handles the signal: asyncio's installs a function, uvloop a method."""
    is_asyncios = getattr(handler, "__name__", "") == "_sighandler_noop"
    return is_asyncios or getattr(handler, "__self__", None) is loop


def _raise(number: signal.Signals) -> None:
    signal.raise_signal(number)


_of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[Signals]] = (
    weakref.WeakKeyDictionary()
)
"""Weak on both sides: the servers hold their loop's, and so does the loop while it is installed."""


def join_signals(server: Stoppable) -> Signals | None:
    """Let SIGINT and SIGTERM stop a server of the running loop.

    Only the main thread gets signals, so elsewhere nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    loop = asyncio.get_running_loop()
    known = _of_loops.get(loop)
    signals = known() if known is not None else None
    if signals is None:
        signals = Signals()
        _of_loops[loop] = weakref.ref(signals)
    signals.join(server)
    return signals
