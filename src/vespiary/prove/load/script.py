"""A Python script instead of messages: `async def user(connection)`, once per connection.

Each of the plan's connections is a user: it opens a connection, awaits the script's function,
closes the connection, and begins again, as often as `messages` says or until `duration` is over. A
call of the function counts as a message, its time as the latency. An exception is a fault.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import inspect
import math
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import vespiary
from vespiary.errors import ConfigurationError, VespiaryError
from vespiary.framing import Framing
from vespiary.prove.load.plan import Plan
from vespiary.prove.load.report import FAULT_COUNTS, Progress

__all__ = ["User", "read_user", "run_script"]

User = Callable[[vespiary.Connection], Awaitable[object]]

_INTERVAL: Final = 0.1
_LENGTH: Final = re.compile(r"length:(\d)(le)?(\+self)?")
_PROBLEMS_MAX: Final = 20
_COUNTS: Final = (
    *FAULT_COUNTS,
    "connected",
    "sent",
    "received",
    "abandoned",
    "bytes_sent",
    "bytes_received",
    "pings_sent",
    "pongs_received",
)


def read_user(path: str) -> User:
    """The function `user` of a Python file.

    Raises:
        ConfigurationError: The file cannot be run, or has no `async def user(connection)`.
    """
    spec = importlib.util.spec_from_file_location("user_script", path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path} is not a Python file", subject="--script", value=path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigurationError(
            f"{path} cannot be run: {type(error).__name__}: {error}", subject="--script", value=path
        ) from error
    user: User | None = getattr(module, "user", None)
    if not inspect.iscoroutinefunction(user):
        raise ConfigurationError(
            f"{path} has no 'async def user(connection)'", subject="--script", value=path
        )
    return user


class _Latencies:
    """How long calls took, to three digits."""

    def __init__(self) -> None:
        self.buckets: Counter[int] = Counter()
        self.total = 0.0

    def add(self, seconds: float) -> None:
        nanoseconds = max(1, round(seconds * 1e9))
        unit = 10 ** max(0, len(str(nanoseconds)) - 3)
        self.buckets[-(-nanoseconds // unit) * unit] += 1
        self.total += seconds

    def told(self) -> dict[str, float]:
        count = self.buckets.total()
        ordered = sorted(self.buckets.items())

        def at(share: float) -> float:
            wanted = max(1, math.ceil(share * count))
            for nanoseconds, many in ordered:
                wanted -= many
                if wanted <= 0:
                    return nanoseconds / 1e9
            return 0.0

        return {
            "count": count,
            "minimum": ordered[0][0] / 1e9 if ordered else 0.0,
            "mean": self.total / count if count else 0.0,
            "p50": at(0.5),
            "p90": at(0.9),
            "p99": at(0.99),
            "p99_9": at(0.999),
            "maximum": at(1.0),
        }


class _Record:
    """What has happened."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.counts = dict.fromkeys(_COUNTS, 0)
        self.connects = _Latencies()
        self.calls = _Latencies()
        self.problems: list[dict[str, Any]] = []
        self.problems_omitted = 0
        self.series: list[dict[str, Any]] = []
        self._interval = _Latencies()
        self._before = dict(self.counts)
        self._interval_began = self.began

    def called(self, seconds: float) -> None:
        self.counts["received"] += 1
        self.calls.add(seconds)
        self._interval.add(seconds)

    def problem(self, fault: str, count: str, user: int, error: BaseException) -> None:
        self.counts[count] += 1
        if len(self.problems) == _PROBLEMS_MAX:
            self.problems_omitted += 1
            return
        self.problems.append(
            {
                "fault": fault, "connection": user, "message": None, "offset": None,
                "expected": "", "got": "", "text": f"{type(error).__name__}: {error}",
            }
        )  # fmt: skip

    def end_interval(self) -> None:
        now = time.monotonic()
        before, self._before = self._before, dict(self.counts)
        self.series.append(
            {
                "start_seconds": self._interval_began - self.began,
                "seconds": now - self._interval_began,
                "sent": self.counts["sent"] - before["sent"],
                "received": self.counts["received"] - before["received"],
                "faults": self.counts["failed"] - before["failed"],
                "latency_seconds": self._interval.told(),
            }
        )
        self._interval_began, self._interval = now, _Latencies()


async def run_script(
    user: User, plan: Plan, watch: Callable[[Progress], None] | None = None
) -> dict[str, Any]:
    """Let users do what the script says; the report has the form of a native run's.

    KeyboardInterrupt, as cancellation, stops all users at once; the report then is not `complete`.
    """
    record = _Record()
    cpu = time.thread_time()
    numbers = range(plan.connections)
    users = [asyncio.create_task(_user(number, user, plan, record)) for number in numbers]
    is_complete = True
    try:
        waiting = set(users)
        while waiting:
            _, waiting = await asyncio.wait(waiting, timeout=_INTERVAL)
            record.end_interval()
            if watch is not None:
                watch(_progress(record, "sending", over=False))
    except asyncio.CancelledError:
        is_complete = False
        for task in users:
            task.cancel()
        await asyncio.gather(*users, return_exceptions=True)
    if watch is not None:
        watch(_progress(record, "done", over=True))
    return _told(plan, record, time.thread_time() - cpu, is_complete=is_complete)


async def _user(number: int, user: User, plan: Plan, record: _Record) -> None:
    """One user, as often as the plan says."""
    if plan.ramp_up:
        await asyncio.sleep(plan.ramp_up * number / plan.connections)
    rounds = 0
    while plan.messages is None or rounds < plan.messages:
        if plan.duration is not None and time.monotonic() - record.began >= plan.duration:
            return
        rounds += 1
        if not await _round(number, user, plan, record):
            # A server that refuses is not to be asked in a tight loop.
            await asyncio.sleep(_INTERVAL)


def _framing(name: str) -> Framing:
    """The framing that `vespiary load` calls by this name."""
    if (match := _LENGTH.fullmatch(name)) is None:
        # Whether it exists is checked when a connection is opened.
        return cast("Framing", name)
    width, order, itself = match.groups()
    return vespiary.LengthPrefix(
        cast("Any", int(width)), "little" if order else "big", includes_itself=bool(itself)
    )


@functools.cache
def _tls(plan: Plan) -> vespiary.ClientTLS:
    """What all connections over TLS share."""
    return vespiary.ClientTLS(ca=plan.ca, certificate=plan.certificate, key=plan.key)


async def _round(number: int, user: User, plan: Plan, record: _Record) -> bool:
    """Open a connection, and call the function with it; whether it was opened."""
    url = plan.urls[number % len(plan.urls)]
    options: vespiary.ClientOptions = {
        "deadlines": vespiary.Deadlines(handshake_seconds=plan.connect_timeout),
        "proxy": None,
    }
    if url.startswith(("wss", "tls")) and plan.ca is not None:
        options["tls"] = _tls(plan)
    if url.startswith("ws"):
        options["headers"] = plan.headers
        options["subprotocols"] = plan.subprotocols
    elif plan.framing is not None:
        options["framing"] = _framing(plan.framing)
    async with contextlib.AsyncExitStack() as stack:
        began = time.monotonic()
        try:
            connection = await stack.enter_async_context(vespiary.connect(url, **options))
        except (OSError, VespiaryError) as error:
            record.problem("refused", "refused", number, error)
            return False
        record.counts["connected"] += 1
        record.connects.add(time.monotonic() - began)
        await _call(number, user(connection), plan, record)
    return True


async def _call(number: int, call: Awaitable[object], plan: Plan, record: _Record) -> None:
    record.counts["sent"] += 1
    began = time.monotonic()
    try:
        await asyncio.wait_for(call, plan.reply_timeout)
    except asyncio.CancelledError:
        record.counts["abandoned"] += 1
        raise
    except Exception as error:
        record.problem("failed", "failed", number, error)
    else:
        record.called(time.monotonic() - began)


def _progress(record: _Record, phase: str, *, over: bool) -> Progress:
    seconds = time.monotonic() - record.began
    told: dict[str, Any] = {**record.counts, "phase": phase, "over": over}
    told |= {"seconds": seconds, "sending_seconds": seconds}
    if record.series:
        told |= record.series[-1]["latency_seconds"]
    return Progress.from_native(told)


def _told(plan: Plan, record: _Record, cpu: float, *, is_complete: bool) -> dict[str, Any]:
    now = time.monotonic()
    seconds = now - record.began
    return {
        "clean": not any(record.counts[name] for name in FAULT_COUNTS),
        "complete": is_complete,
        "connections": plan.connections,
        "size": 0,
        **record.counts,
        "paced": None,
        "connect_seconds": record.connects.told()["maximum"],
        "seconds": seconds,
        "monotonic_start_seconds": record.began,
        "monotonic_end_seconds": now,
        "messages_per_second": record.counts["received"] / seconds if seconds else 0.0,
        "client_cpu_seconds": cpu,
        "connect_latency_seconds": record.connects.told(),
        "latency_seconds": record.calls.told(),
        "latency_histogram": sorted(record.calls.buckets.items()),
        "series": record.series,
        "problems": record.problems,
        "problems_omitted": record.problems_omitted,
        "seed": 0,
        "driver": f"vespiary {vespiary.__version__}",
    }
