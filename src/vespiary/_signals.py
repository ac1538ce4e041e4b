"""SIGINT and SIGTERM while a server runs, and the handlers of before when it has stopped."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["Signals"]

_NUMBERS = (signal.SIGINT, signal.SIGTERM)

_Handler = Callable[[int, FrameType | None], Any] | int | None


class Signals:
    """Calls a function on the loop for SIGINT and SIGTERM, between `install` and `restore`.

    Only the main thread gets signals, so elsewhere nothing is installed. A handler that the program
    has given to the loop itself (`add_signal_handler`) stays: that program ends its servers itself.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, _Handler] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def install(self, received: Callable[[signal.Signals], object]) -> None:
        """Have `received` called with the number of each signal."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._loop = asyncio.get_running_loop()
        for number in _NUMBERS:
            before = signal.getsignal(number)
            if _belongs_to(self._loop, before):
                continue
            try:
                self._loop.add_signal_handler(number, received, number)
            except NotImplementedError:
                return
            self._before[number] = before

    def restore(self) -> None:
        """Put the handlers of before back."""
        if self._loop is None:
            return
        for number, before in self._before.items():
            self._loop.remove_signal_handler(number)
            if before is not None:
                signal.signal(number, before)
        self._before.clear()
        self._loop = None


def _belongs_to(loop: asyncio.AbstractEventLoop, handler: _Handler) -> bool:
    """Whether the loop handles the signal: asyncio's installs a function, uvloop a method."""
    is_asyncios = getattr(handler, "__name__", "") == "_sighandler_noop"
    return is_asyncios or getattr(handler, "__self__", None) is loop
