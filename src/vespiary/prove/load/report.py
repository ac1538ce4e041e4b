"""The outcome of a load run, and how far one has come."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self

__all__ = ["FAULT_COUNTS", "Latency", "Paced", "Point", "Problem", "Progress", "Report"]


FAULT_COUNTS: Final = (
    "refused",
    "reset",
    "closed",
    "unclosed",
    "altered",
    "lost",
    "reordered",
    "duplicated",
    "unsent",
    "extra_bytes",
    "violations",
    "failed",
)
"""The counts that a healthy server leaves at zero."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long something took, in seconds, over `count` cases; all zero when there was none."""

    count: int
    minimum: float
    mean: float
    p50: float
    p90: float
    p99: float
    p99_9: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that went wrong.

    Attributes:
        fault: `refused`, `reset`, `closed`, `unclosed`, `altered`, `lost`, `reordered`,
            `duplicated`, `extra`, `violation` or `failed`.
        connection: On which connection, counted from zero.
        message: At which of its messages, counted from zero, where that can be known.
        offset: At which byte of that message as sent, its framing included on a stream.
        expected: What should have come from there on: the beginning, at most 24 bytes.
        got: What came.
        text: What happened, in words; may be empty where the rest says it.
    """

    fault: str
    connection: int
    message: int | None
    offset: int | None
    expected: bytes
    got: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Paced:
    """What a rate demanded.

    Attributes:
        due: Messages that were due.
        planned_per_second: Messages that were due per second, on average.
        reached_per_second: Messages per second that left in time.
        reached: Everything that was due left in time: 1 % of the run late at most, but 100 ms are
            always allowed and never more than a second.
    """

    due: int
    planned_per_second: float
    reached_per_second: float
    reached: bool


@dataclass(frozen=True, slots=True)
class Point:
    """An interval of a run.

    Attributes:
        start_seconds: Its beginning after the first message.
        seconds: Its length.
        sent: Messages sent in it.
        received: Messages that came back in it.
        faults: Messages that were altered, lost, reordered, duplicated or unsent in it.
        latency_seconds: Of the messages that came back in it, or were lost.
    """

    start_seconds: float
    seconds: float
    sent: int
    received: int
    faults: int
    latency_seconds: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    connected: int
    refused: int
    reset: int
    closed: int
    unclosed: int
    sent: int
    received: int
    altered: int
    lost: int
    reordered: int
    duplicated: int
    unsent: int
    abandoned: int
    extra_bytes: int
    violations: int
    bytes_sent: int
    bytes_received: int
    pings_sent: int
    pongs_received: int
    failed: int = 0

    @classmethod
    def _from_native(cls, told: Mapping[str, Any], **changed: object) -> Self:
        values = {field.name: told[field.name] for field in fields(cls) if field.name in told}
        return cls(**{**values, **changed})


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(_Counts):
    """How far a run has come.

    Attributes:
        phase: `connecting`, `sending`, `holding`, `closing` or `done`.
        over: Nothing more will happen.
        seconds: Since the run began.
        sending_seconds: Since the first message.
        p50: Half of the messages that came back in the last 0.1 s took no longer, in seconds.
        p90: 90 % did not.
        p99: 99 % did not.
    """

    phase: str
    over: bool
    seconds: float
    sending_seconds: float
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0

    @classmethod
    def from_native(cls, told: Mapping[str, Any]) -> Self:
        """From what the native run tells."""
        return cls._from_native(told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(_Counts):
    """The outcome of a run.

    Attributes:
        clean: Every connection was opened and closed, every message came back as it was sent and
            in time, and the rate was kept, if there was one.
        complete: The run went to its end and was not stopped.
        connections: Connections planned.
        size: Bytes of a payload.
        connected: Connections opened, handshakes included.
        refused: Connections not opened: refused, timed out, or the handshake failed.
        reset: Open connections that the server reset.
        closed: Open connections that the server closed before the run was over.
        unclosed: Connections whose server's end stayed open after ours, or whose close frame was
            not answered.
        sent: Messages sent.
        received: Messages that came back whole, altered or not.
        altered: Messages that came back other than they were sent.
        lost: Messages sent that never came back whole.
        reordered: Messages that came back after later ones.
        duplicated: Messages that came back more than once.
        unsent: Messages planned, or with a rate due, and not sent: their connection was lost, or
            too many were in flight.
        abandoned: Messages in flight when the run was stopped; no fault.
        extra_bytes: Bytes that came and answer nothing.
        violations: Connections on which the server broke RFC 6455, HTTP or TLS.
        bytes_sent: Bytes sent, framing and handshakes included.
        bytes_received: Bytes that came.
        pings_sent: Pings sent between fragments.
        pongs_received: Pongs that came; servers owe one for the latest ping only.
        failed: Calls of a script that raised an exception; HTTP requests that were answered with a
            status of 400 or above.
        paced: What a rate demanded; None without one.
        connect_seconds: From the beginning until every connection was open or refused.
        seconds: From the first message to the last echo.
        monotonic_start_seconds: When the first message left, on `time.monotonic()`.
        monotonic_end_seconds: When the last echo was back.
        messages_per_second: Messages that came back in each of these.
        client_cpu_seconds: Processor time of this client meanwhile. Close to `seconds`, the client
            was the bottleneck.
        connect_latency_seconds: From a connect to the open connection.
        latency_seconds: From a message's sending (with a rate, from when it was due) to its echo.
            For a message without an echo, this is the time that it waited.
        latency_histogram: The same: nanoseconds, and how many messages took that long, rounded up
            to three digits; the shortest first.
        series: How the run went over time, in intervals of 0.1 s, which grow in long runs.
        problems: The first twenty problems.
        problems_omitted: How many there were beyond these.
        seed: What repeats this run.
        driver: `uring` or `epoll`.
        hosts_failed: With several hosts, those that did not do their share to its end, and why. The
            report has what they did until a few seconds before.
    """

    clean: bool
    complete: bool
    connections: int
    size: int
    paced: Paced | None
    connect_seconds: float
    seconds: float
    monotonic_start_seconds: float
    monotonic_end_seconds: float
    messages_per_second: float
    client_cpu_seconds: float
    connect_latency_seconds: Latency
    latency_seconds: Latency
    latency_histogram: tuple[tuple[int, int], ...]
    series: tuple[Point, ...]
    problems: tuple[Problem, ...]
    problems_omitted: int
    seed: int
    driver: str
    hosts_failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def latency(self) -> Latency:
        """The same as `latency_seconds`."""
        return self.latency_seconds

    @property
    def errors(self) -> int:
        """How many faults there were; bytes that answer nothing are one."""
        counts: list[int] = [getattr(self, name) for name in FAULT_COUNTS]
        return sum(counts) - self.extra_bytes + bool(self.extra_bytes)

    def percentile(self, percent: float) -> float:
        """The latency that this share of the messages did not exceed, in seconds; 0 without any."""
        wanted = max(1, math.ceil(percent / 100 * self.latency.count))
        for nanoseconds, count in self.latency_histogram:
            wanted -= count
            if wanted <= 0:
                return nanoseconds / 1e9
        return 0.0

    @classmethod
    def from_native(cls, told: Mapping[str, Any]) -> Self:
        """From the report of the native run."""
        return cls._from_native(
            told,
            paced=Paced(**told["paced"]) if told["paced"] else None,
            connect_latency_seconds=Latency(**told["connect_latency_seconds"]),
            latency_seconds=Latency(**told["latency_seconds"]),
            latency_histogram=tuple((at, count) for at, count in told["latency_histogram"]),
            series=tuple(_point(point) for point in told["series"]),
            problems=tuple(_problem(problem) for problem in told["problems"]),
        )


def _point(told: Mapping[str, Any]) -> Point:
    return Point(**{**told, "latency_seconds": Latency(**told["latency_seconds"])})


def _problem(told: Mapping[str, Any]) -> Problem:
    excerpts = {name: bytes.fromhex(told[name]) for name in ("expected", "got")}
    return Problem(**{**told, **excerpts})
