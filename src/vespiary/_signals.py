"""SIGINT and SIGTERM while servers run.

A process has one set of signal handlers, so all servers of a loop share them: a signal stops each
of them. The handlers are ours from the first server's `async with` until the last of these servers
has stopped; then those of before are back, asyncio.Runner's for SIGINT among them.

A signal asks the program to end, not only its servers. So once the servers have stopped, the signal
is raised again for the handler of before: `asyncio.run` cancels its main task and raises
KeyboardInterrupt, and SIGTERM ends the process. A program that waits for the end of one of them
(`wait_stopped`, `stop`, leaving the `async with`) goes on by itself, and nothing is raised there.

A handler that never yields keeps the loop from doing any of that. So a handler of the interpreter
takes the signal, as it runs between any two instructions of the main thread, and from the second
signal on a thread watches the loop: while the loop takes no callbacks, it has the exception raised
in whatever the main thread executes, and at last ends the process (see `_Watch`).
"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import itertools
import logging
import os
import signal
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from vespiary._fork import process

__all__ = ["Signals", "join_signals"]

logger = logging.getLogger("vespiary")

_NUMBERS = (signal.SIGINT, signal.SIGTERM)

_BLOCKED_SECONDS = 1.0
"""How long the loop may take for a callback after the second signal, before it counts as blocked:
longer than any pause that is not a fault."""
_INTERRUPTS_MAX = 3
"""How many exceptions may be swallowed before the process is ended."""
_LOOK_SECONDS = 0.1
_REPORT_SECONDS = 1.0
"""How long the blocked code may keep the log from being written."""
_LOOPS = frozenset({"asyncio", "uvloop", "vespiary"})
"""The packages whose frames call the program's."""

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
            # The servers have stopped, and a handler that the program has set since calls this one;
            # or the loop was closed while servers ran, or is the parent's.
            self.restore(number)
            self._call_before(number, frame)

    def _call_before(self, number: int, frame: FrameType | None) -> None:
        # Raising the signal again would call the program's handler again, and that this one.
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
        self._watch: _Watch | None = None

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
                # The loop has a signal wake it. Without that, one that comes just before the wait
                # for completions would be seen after it only.
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
        loop.call_soon_threadsafe(self._signalled, number)
        self._count += 1
        if self._count > 1 and self._watch is None:
            self._watch = _Watch(loop, number)
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
        logger.info("Nothing waits for the server's end: raising %s again", number.name)
        # Not here: what a handler raises belongs to the program, and not to the task that stops.
        asyncio.get_running_loop().call_soon(_raise, number)


class _Watch:
    """Ends a program whose loop is blocked, from the second signal until its servers have stopped.

    A thread asks the loop for a callback. Where none comes within a second, a handler (or another
    callback of the program) does not yield. Many short callbacks in a row are not that: each one
    has a second. The signal is sent again to the main thread, and the
    interpreter's handler raises there. Code that catches that too is interrupted some more times;
    then the process is ended, without any cleanup.

    It cannot help where the main thread executes native code that holds the GIL for ever.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, number: signal.Signals) -> None:
        self._loop = weakref.ref(loop)
        self._number = number
        self._main = threading.get_ident()
        self._ended = threading.Event()
        self._must_raise = False
        # threading's own start takes a lock that the interrupted code may hold.
        _thread.start_new_thread(self._run, ())

    def end(self) -> None:
        """Watch no more."""
        self._ended.set()

    def interrupt(self, number: signal.Signals) -> None:
        """Raise, if the signal was sent for that."""
        if self._must_raise:
            self._must_raise = False
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            raise SystemExit(128 + number)

    def _run(self) -> None:
        interrupts = 0
        while not self._ended.wait(_LOOK_SECONDS):
            if self._answers():
                interrupts = 0
            elif not self._ended.is_set():
                if interrupts == _INTERRUPTS_MAX:
                    self._end_process()
                interrupts += 1
                _try_to(self._report)
                self._must_raise = True
                signal.pthread_kill(self._main, self._number)

    def _answers(self) -> bool:
        """Whether the loop takes a callback in time; one that was closed takes none any more."""
        answered = threading.Event()
        loop = self._loop()
        try:
            if loop is not None:
                loop.call_soon_threadsafe(answered.set)
        except RuntimeError:
            loop = None
        if loop is None:
            self.end()
            return True
        seen = _frames(self._main)
        blocked_at = time.monotonic() + _BLOCKED_SECONDS
        while not answered.wait(_LOOK_SECONDS):
            now = _frames(self._main)
            if _calls_another(seen, now):
                blocked_at = time.monotonic() + _BLOCKED_SECONDS
            elif time.monotonic() >= blocked_at:
                return False
            seen = now
        return True

    def _report(self) -> None:
        frame = sys._current_frames().get(self._main)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        logger.error("Ending the program: a handler does not yield\n%s", stack)

    def _end_process(self) -> None:
        # Not by the log, whose lock the blocked code may hold.
        text = "vespiary: a handler neither yields nor ends when interrupted: ending the process\n"
        _try_to(lambda: os.write(2, text.encode()))
        os._exit(128 + self._number)


def _try_to(report: Callable[[], object]) -> None:
    """Report something, unless the blocked code holds the log's lock or nobody reads the output."""
    done = threading.Event()

    def run() -> None:
        try:
            report()
        finally:
            done.set()

    # Without a thread for it, nothing is reported.
    with contextlib.suppress(RuntimeError):
        _thread.start_new_thread(run, ())
        done.wait(_REPORT_SECONDS)


def _frames(thread: int) -> list[FrameType]:
    """What a thread executes, the outermost frame first."""
    frames: list[FrameType] = []
    frame = sys._current_frames().get(thread)
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames[::-1]


def _calls_another(before: list[FrameType], now: list[FrameType]) -> bool:
    """Whether the loop has called something else in between: the last frame in common is its own.

    Where a function of the program calls others, that function is the last one in common.
    """
    pairs = zip(before, now, strict=False)
    common = list(itertools.takewhile(lambda pair: pair[0] is pair[1], pairs))
    if not common or len(common) == len(before) == len(now):
        return False
    package = str(common[-1][0].f_globals.get("__name__", "")).partition(".")[0]
    return package in _LOOPS


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
