"""SIGINT and SIGTERM while servers run.

A process has one set of signal handlers, so all servers of a loop share them: a signal stops all of
them. The handlers are installed from the first server's `async with` until the last of these
servers has stopped. Then the previous handlers are restored, such as that of asyncio.Runner for
SIGINT.

A signal asks the program to end, not only its servers. So when the servers have stopped, the signal
is raised again for the previous handler: `asyncio.run` cancels its main task and raises
KeyboardInterrupt, and SIGTERM ends the process. But if the program waits for the end of one of the
servers (`wait_stopped`, `stop`, the end of the `async with`), it continues, and nothing is raised.

Signals are handled by the interpreter, between any two instructions of the main thread, and not by
the loop: a handler that blocks the loop would prevent that (see `_blocked_loop`).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from vespiary._blocked_loop import Watch
from vespiary._fork import process

__all__ = ["Signals", "join_signals"]

logger = logging.getLogger("vespiary")

_NUMBERS = (signal.SIGINT, signal.SIGTERM)

_Handler = Callable[[int, FrameType | None], Any] | int | None


class Stoppable(Protocol):
    """A server."""

    def stop_soon(self) -> None:
        """Begin to stop; a second call ends everything at once."""


class _Installed:
    """What the interpreter calls for a signal. It holds neither servers nor loop."""

    def __init__(self, signals: Signals, before: _Handler) -> None:
        self._signals = weakref.ref(signals)
        self.before = before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        signals = self._signals()
        if signals is None or not signals.receive(signal.Signals(number)):
            # No server of this process runs in the loop: they have stopped, and a handler that the
            # program has set since then calls this one; or the loop was closed while they ran; or
            # this is a forked child.
            self.restore(number)
            self._call_before(number, frame)

    def _call_before(self, number: int, frame: FrameType | None) -> None:
        # Raising the signal again would call the program's handler, which may call this one again.
        if callable(self.before):
            self.before(number, frame)
        elif self.before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def restore(self, number: int) -> None:
        """Put the handler of before back, where the program has not set another one since."""
        now: object = signal.getsignal(number)
        if now is not self or self.before is None:
            return
        if _is_asyncio_runners(self.before) and not _runner_runs():
            self.before = signal.default_int_handler
        signal.signal(number, self.before)


class Signals:
    """The handlers of a loop for SIGINT and SIGTERM, from the first `join` to the last `leave`.

    A handler that the program has given to the loop itself (`add_signal_handler`) stays: that
    program ends its servers itself. A signal that is ignored stays ignored, as with asyncio.Runner:
    a shell lets its background commands ignore Ctrl-C, which is for the command in front.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._process = process()
        self._installed: dict[signal.Signals, _Installed] = {}
        self._servers: list[Stoppable] = []
        self._count = 0
        self._received: signal.Signals | None = None
        self._is_awaited = False
        self._watch: Watch | None = None

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
            if before != signal.SIG_IGN and not _belongs_to(loop, before):
                # This makes signals wake the loop. Without it, one that arrives just before a wait
                # for completions would be handled only after that wait.
                with contextlib.suppress(NotImplementedError):
                    loop.add_signal_handler(number, _wake)
                self._installed[number] = _Installed(self, before)
                signal.signal(number, self._installed[number])

    def _restore(self) -> None:
        loop = self._loop()
        for number, installed in self._installed.items():
            is_ours: object = signal.getsignal(number)
            if is_ours is installed and loop is not None and not loop.is_closed():
                with contextlib.suppress(NotImplementedError):
                    loop.remove_signal_handler(number)
                signal.signal(number, installed)
            installed.restore(number)
        self._installed.clear()
        if self._watch is not None:
            self._watch.end()
        self._watch, self._count = None, 0

    def receive(self, number: signal.Signals) -> bool:
        """Take a signal, on the main thread, between any two instructions of the program.

        Returns False where no server is left, or the loop was closed or is the parent's.

        Raises:
            KeyboardInterrupt: for SIGINT, if the loop is blocked.
            SystemExit: the same for SIGTERM.
        """
        loop = self._loop()
        if not self._servers or loop is None or loop.is_closed() or self._process != process():
            return False
        if self._watch is not None:
            self._watch.interrupt(number)
        # An empty context: that of the interrupted code has nothing to do with the signal.
        loop.call_soon_threadsafe(self._signalled, number, context=contextvars.Context())
        self._count += 1
        if self._count > 1 and self._watch is None:
            self._watch = Watch(loop, number)
        return True

    def _signalled(self, number: signal.Signals) -> None:
        if not self._servers:
            return
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
        logger.info("The program does not wait for the server's end: raising %s again", number.name)
        # In a callback: what the program's signal handler raises must not end the task that stops
        # the server.
        asyncio.get_running_loop().call_soon(_raise, number)


def _belongs_to(loop: asyncio.AbstractEventLoop, handler: _Handler) -> bool:
    """Whether the loop handles the signal: asyncio's installs a function, uvloop a method."""
    is_asyncios = getattr(handler, "__name__", "") == "_sighandler_noop"
    return is_asyncios or getattr(handler, "__self__", None) is loop


def _wake() -> None:
    """What the loop itself does for a signal: having been woken, nothing."""


def _is_asyncio_runners(handler: _Handler) -> bool:
    """Whether it is asyncio.Runner's for SIGINT, which cancels the main task."""
    bound = getattr(handler, "func", None)
    return isinstance(getattr(bound, "__self__", None), asyncio.Runner)


def _runner_runs() -> bool:
    """Whether this is called in asyncio.Runner.run, which takes its own handler away at its end.

    When an exception ends the run, servers stop later, while the Runner closes: nobody would take a
    handler away that came back then.
    """
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is asyncio.Runner.run.__code__:
            return True
    return False


def _raise(number: signal.Signals) -> None:
    signal.raise_signal(number)


_of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[Signals]] = (
    weakref.WeakKeyDictionary()
)
"""Weak on both sides: the servers hold their loop's."""


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
        signals = Signals(loop)
        _of_loops[loop] = weakref.ref(signals)
    signals.join(server)
    return signals
