"""How long things take: histograms of the event loop's delay, and of handlers if that is asked for.

The delay of the loop is sampled: a timer is set for a tenth of a second later, and how late it is
called is how long a message may have waited for the loop. So it costs ten calls per second, and
nothing per message.

The time of a handler has to be measured at each of its calls, which costs about 0.3 microseconds of
CPU time. So it is an option (`admin.handler_seconds`).
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from vespiary._hooks import defined
from vespiary.handler import Handler
from vespiary.http import ASGI, WSGI

__all__ = ["BOUNDS_SECONDS", "Histogram", "LoopDelay", "measure_handler", "quantile"]

BOUNDS_SECONDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0,
)  # fmt: skip
"""The upper ends of the ranges; above the last one there is one more."""
_SAMPLE_SECONDS = 0.1
_MARK = "is_measured_by_vespiary"
_METHODS = ("on_request", "on_open", "on_message", "on_part", "on_datagram")


class Histogram:
    """Counts of durations by range, and their sum."""

    __slots__ = ("_lock", "counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_SECONDS) + 1)
        self.sum = 0.0
        self._lock = threading.Lock()

    def observe(self, seconds: float) -> None:
        """Count a duration, in any thread."""
        index = bisect_left(BOUNDS_SECONDS, seconds)
        with self._lock:
            self.counts[index] += 1
            self.sum += seconds

    def values(self) -> dict[str, Any]:
        """The same as an object for JSON."""
        return {"counts": list(self.counts), "sum": self.sum}


class LoopDelay:
    """Samples how late the loop calls a timer."""

    def __init__(self) -> None:
        self.histogram = Histogram()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Sample from now on, in the loop that runs."""
        if self._timer is None:
            self._set(asyncio.get_running_loop())

    def _set(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + _SAMPLE_SECONDS
        self._timer = loop.call_at(due, self._sample, loop, due)

    def _sample(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self.histogram.observe(max(0.0, loop.time() - due))
        self._set(loop)

    def stop(self) -> None:
        """Sample no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def measure_handler(handler: object, histogram: Histogram) -> None:
    """Measure each call of the methods of a handler from now on.

    An async method is measured until it returns, with the time that it waits. Of an application its
    HTTP requests are measured: with ASGI until it returns, with WSGI until it has returned the
    body. Async functions are not measured: each has its connection as long as that lasts.
    """
    if isinstance(handler, ASGI | WSGI) and not hasattr(handler._hosting.app, _MARK):
        measure = _measured_asgi if isinstance(handler, ASGI) else _measured
        handler._hosting.app = measure(handler._hosting.app, histogram)
        return
    if not isinstance(handler, Handler):
        return
    for name in _METHODS:
        method = defined(handler, name)
        # One object may have been here before a reload.
        if method is not None and not hasattr(method, _MARK):
            setattr(handler, name, _measured(method, histogram))


def _measured(method: Callable[..., Any], histogram: Histogram) -> Callable[..., Any]:
    measured = _timed(method, histogram)
    setattr(measured, _MARK, True)
    return measured


def _measured_asgi(app: Any, histogram: Histogram) -> Any:
    clock, observe = time.perf_counter, histogram.observe

    async def measured(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        began = clock()
        try:
            await app(scope, receive, send)
        finally:
            observe(clock() - began)

    setattr(measured, _MARK, True)
    return measured


def _timed(method: Callable[..., Any], histogram: Histogram) -> Callable[..., Any]:
    clock, observe = time.perf_counter, histogram.observe
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def wait(*arguments: Any) -> Any:
            began = clock()
            try:
                return await method(*arguments)
            finally:
                observe(clock() - began)

        return wait

    @functools.wraps(method)
    def call(*arguments: Any) -> Any:
        began = clock()
        try:
            return method(*arguments)
        finally:
            observe(clock() - began)

    return call


def quantile(counts: list[int], share: float) -> float | None:
    """The upper end of the range in which a share of all durations ends.

    Returns:
        Seconds; infinity above the last range; None if nothing was counted.
    """
    total, seen = sum(counts), 0
    if total == 0:
        return None
    for bound, count in zip((*BOUNDS_SECONDS, float("inf")), counts, strict=True):
        seen += count
        if seen >= share * total:
            return bound
    return float("inf")
