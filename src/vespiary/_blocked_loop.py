"""A handler that blocks the loop, after the program was asked twice to end.

While a handler blocks the loop, the loop cannot stop its servers. So from the second signal on, a
thread checks whether the loop calls callbacks. If it does not, the blocked code is interrupted, and
in the end the process exits.
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

__all__ = ["Interrupted", "Watch"]

logger = logging.getLogger("vespiary")

_BLOCKED_SECONDS = 1.0
"""How long the loop may take for a callback after the second signal, before it counts as blocked:
longer than any pause that is not a fault."""
_INTERRUPTS_MAX = 3
"""How many exceptions may be caught before the process is ended."""
_LOOK_SECONDS = 0.1
_REPORT_SECONDS = 1.0
"""How long the blocked code may keep the log from being written."""
_LOOPS = frozenset({"asyncio", "uvloop", "vespiary"})
"""The packages whose frames call the program's."""


class Interrupted(SystemExit):
    """Raised by SIGTERM in code that blocks the loop."""


class Watch:
    """Ends a program whose loop is blocked, from the second signal until its servers have stopped.

    A thread asks the loop for a callback. Where none comes within a second, a handler (or another
    callback of the program) does not yield. Many short callbacks in a row are not that: each one
    has a second. The signal is sent again to the main thread, and the interpreter's handler raises
    there. Code that catches that too is interrupted some more times; then the process is ended,
    without any cleanup.

    It cannot help where the main thread executes native code that holds the GIL forever.
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
            raise Interrupted(128 + number)

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
