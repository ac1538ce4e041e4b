"""Signals that end a run as Ctrl-C does: what was found until then is reported."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interrupted_as_by_ctrl_c"]

_ENDING = (signal.SIGTERM, signal.SIGHUP)
"""From `timeout`, service managers and CI; and when the terminal is closed."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number
    handler = signal.getsignal(signal.SIGINT)  # In a coroutine's run, asyncio has its own.
    if callable(handler):
        handler(signal.SIGINT, frame)
    else:  # A shell ignores SIGINT for commands that it starts in the background.
        signal.default_int_handler(signal.SIGINT, frame)


@contextmanager
def interrupted_as_by_ctrl_c() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP as SIGINT is handled; `nohup` ignores SIGHUP, which stays so."""
    taken = [each for each in _ENDING if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, _interrupt) for each in taken}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
