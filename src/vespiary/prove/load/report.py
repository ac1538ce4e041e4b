"""The outcome of a load run, and how far one has come."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

__all__ = ["Latency", "Problem", "Progress", "Report"]


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
        fault: `refused`, `reset`, `closed`, `altered`, `lost`, `extra` or `violation`.
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
    unsent: int
    extra_bytes: int
    violations: int
    bytes_sent: int
    bytes_received: int
    pings_sent: int
    pongs_received: int

    @classmethod
    def _from_native(cls, told: Mapping[str, Any], **changed: object) -> Self:
        values = {field.name: told[field.name] for field in fields(cls) if field.name in told}
        return cls(**{**values, **changed})


@dataclass(frozen=True, slots=True)
class Progress(_Counts):
    """How far a run has come.

    Attributes:
        phase: `connecting`, `sending`, `holding`, `closing` or `done`.
        over: Nothing more will happen.
        seconds: Since the run began.
        sending_seconds: Since the first message.
    """

    phase: str
    over: bool
    seconds: float
    sending_seconds: float

    @classmethod
    def from_native(cls, told: Mapping[str, Any]) -> Self:
        """From what the native run tells."""
        return cls._from_native(told)


@dataclass(frozen=True, slots=True)
class Report(_Counts):
    """The outcome of a run.

    Attributes:
        clean: Every connection was opened, every message came back as it was sent and in time.
        complete: The run went to its end and was not stopped.
        connections: Connections planned.
        size: Bytes of a payload.
        connected: Connections opened, handshakes included.
        refused: Connections not opened: refused, timed out, or the handshake failed.
        reset: Open connections that the server reset.
        closed: Open connections that the server closed before the run was over.
        unclosed: Connections whose server's end stayed open after ours; no fault.
        sent: Messages sent.
        received: Messages that came back whole, altered or not.
        altered: Messages that came back other than they were sent.
        lost: Messages sent that never came back whole.
        unsent: Messages planned and not sent, because their connection was lost.
        extra_bytes: Bytes that came and answer nothing.
        violations: Connections on which the server broke RFC 6455.
        bytes_sent: Bytes sent, framing and handshakes included.
        bytes_received: Bytes that came.
        pings_sent: Pings sent between fragments.
        pongs_received: Pongs that came; servers owe one for the latest ping only.
        connect_seconds: From the beginning until every connection was open or refused.
        seconds: From the first message to the last echo.
        monotonic_start_seconds: When the first message left, on `time.monotonic()`.
        monotonic_end_seconds: When the last echo was back.
        messages_per_second: Messages that came back in each of these.
        client_cpu_seconds: Processor time of this client meanwhile. Close to `seconds`, the client
            was the bottleneck.
        connect_latency_seconds: From a connect to the open connection.
        latency_seconds: From a message's sending (with a rate, from when it was due) to its echo.
        problems: The first twenty problems.
        problems_omitted: How many there were beyond these.
        seed: What repeats this run.
        driver: `uring` or `epoll`.
    """

    clean: bool
    complete: bool
    connections: int
    size: int
    connect_seconds: float
    seconds: float
    monotonic_start_seconds: float
    monotonic_end_seconds: float
    messages_per_second: float
    client_cpu_seconds: float
    connect_latency_seconds: Latency
    latency_seconds: Latency
    problems: tuple[Problem, ...]
    problems_omitted: int
    seed: int
    driver: str

    @property
    def latency(self) -> Latency:
        """The same as `latency_seconds`."""
        return self.latency_seconds

    @classmethod
    def from_native(cls, told: Mapping[str, Any]) -> Self:
        """From the report of the native run."""
        return cls._from_native(
            told,
            connect_latency_seconds=Latency(**told["connect_latency_seconds"]),
            latency_seconds=Latency(**told["latency_seconds"]),
            problems=tuple(_problem(problem) for problem in told["problems"]),
        )


def _problem(told: Mapping[str, Any]) -> Problem:
    excerpts = {name: bytes.fromhex(told[name]) for name in ("expected", "got")}
    return Problem(**{**told, **excerpts})
