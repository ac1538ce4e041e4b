"""What a load run shall do."""

from dataclasses import dataclass

__all__ = ["Plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    connections: int = 1
    messages: int | None = None
    duration: float | None = None
    size: int = 32
    pipeline: int = 1
    rate: float | None = None
    framing: str | None = None
    text: bool = False
    fragment: bool = False
    fragment_delay: float | None = None
    fragment_frames: int | None = None
    seed: int | None = None
    sources: int | None = None
    driver: str | None = None
    hold: float = 0.0
    reply_timeout: float = 10.0
    connect_timeout: float = 10.0
    close_timeout: float = 2.0
    connect_concurrency: int = 100
    spin: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan(_Options):
    """What a load run shall do; whether it makes sense is checked when it begins.

    Attributes:
        url: `tcp://HOST:PORT`, `unix:///PATH` or `ws://HOST:PORT/TARGET`.
        connections: How many, 1 to 1,000,000; all are opened before the first message leaves.
        messages: Messages on each connection; without it, as many as `duration` allows.
        duration: Seconds after which no further message leaves.
        size: Bytes of a message's payload, up to 64 MiB.
        pipeline: Messages in flight on each connection, up to 65,536. Zero lets sending run free:
            up to 4,096 messages or 4 MiB are in flight.
        rate: Messages per second over all connections. Latency then counts from when a message was
            due, so that a server which stalls cannot hide what it kept from being sent.
        framing: `raw`, `line`, `crlf`, `length` (four bytes, network order) or
            `length:WIDTH[le][+self]` on a stream. `raw` by default; `ws://` always has frames.
        text: Payloads are UTF-8, and text messages on WebSocket.
        fragment: Cut, merge and delay what is sent without regard to messages; on WebSocket, also
            split messages into frames, with pings between them.
        fragment_delay: The longest delay of a piece in seconds; 0.002 by default.
        fragment_frames: The most frames of a message; 4 by default.
        seed: Decides payloads, cuts, delays and masking keys; a run that found something can be
            repeated with the seed in its report.
        sources: Loopback addresses to connect from, 127.0.0.1 and those behind it. Left out, one
            for each 10,000 connections to a target in 127.0.0.0/8.
        driver: `uring`, `epoll`, or the better of those the kernel allows.
        hold: Seconds to keep the idle connections open after the last echo.
        reply_timeout: Seconds without an echo after which what is in flight counts as lost.
        connect_timeout: Seconds for a connection and its handshake.
        close_timeout: Seconds to wait for the server's end of the connections after ours.
        connect_concurrency: Connections being opened at a time.
        spin: Seconds to look for echoes before sleeping: sharper latencies of few connections, for
            processor time.
    """

    url: str
