"""What a load run does."""

import os
from dataclasses import dataclass

__all__ = ["Plan"]

PathLike = str | os.PathLike[str]


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
    further_urls: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    subprotocols: tuple[str, ...] = ()
    compress: bool = False
    echo: bool = True
    data: tuple[bytes, ...] = ()
    ramp_up: float = 0.0
    steps: tuple[tuple[float, float], ...] = ()
    script: str | None = None
    method: str = "GET"
    ca: PathLike | None = None
    certificate: PathLike | None = None
    key: PathLike | None = None
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Plan(_Options):
    """What a load run does; whether it makes sense is checked when it begins.

    Attributes:
        url: `tcp://HOST:PORT`, `tls://HOST:PORT`, `udp://HOST:PORT`, `unix:///PATH`,
            `ws://HOST:PORT/TARGET`, or the same with `wss`, `http` or `https`. A user name and
            password are sent as basic authentication (RFC 7617).
        connections: How many, 1 to 1,000,000; all are opened before the first message leaves.
        messages: Messages on each connection; without it, as many as `duration` allows.
        duration: Seconds after which no further message leaves.
        size: Bytes of a message's payload, up to 64 MiB; of HTTP, of a request's body.
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
        further_urls: More targets of the same kind; connections are spread over all of them.
        headers: Further header lines of the WebSocket handshake, or of each request.
        subprotocols: WebSocket subprotocols to offer; the server has to choose one of them.
        compress: Compress WebSocket messages (permessage-deflate); the server has to agree.
        echo: Messages come back. If not, messages are only sent, what comes is counted and not
            compared, and with `duration` connections stay open until it is over.
        data: Payloads to send in turn, on each connection from the first on, instead of noise.
        ramp_up: Seconds in which the rate grows to `rate`; without a rate, seconds in which one
            connection after the other begins to send.
        steps: Pairs of a rate and its seconds, one after the other, instead of `rate` and
            `duration`.
        script: A Python file. Its `async def user(connection)` is called with each connection,
            instead of messages; a call counts as a message.
        method: The method of HTTP requests. A request counts as a message, its response as the
            echo; a status of 400 or above is a fault.
        ca: A PEM file with the authorities that are trusted over TLS. Default: this machine's.
        certificate: A PEM file with this client's certificate, for servers that ask for one.
        key: A PEM file with its private key. Default: it is in the same file.
        insecure: Take every certificate of a server.
    """

    url: str

    @property
    def is_http(self) -> bool:
        """Whether messages are HTTP requests."""
        return self.url.startswith(("http://", "https://"))

    @property
    def urls(self) -> tuple[str, ...]:
        """All targets."""
        return (self.url, *self.further_urls)
