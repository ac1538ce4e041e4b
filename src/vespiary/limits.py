"""How much a peer may use, and how long it may take: `Limits` and `Deadlines`.

Both are frozen dataclasses whose values are checked when they are created. `dataclasses.replace`
makes a changed copy. If a limit is reached, the peer is refused with a reason, a counter is
increased, and `on_limit` is called.
"""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from vespiary._seconds import is_seconds, wanted_seconds
from vespiary._suggestions import check_names, checks_names
from vespiary.errors import LimitsError

__all__ = ["Deadlines", "Limits", "SlowConsumer"]

SlowConsumer = Literal["wait", "drop-oldest", "drop-newest", "disconnect"]
"""What happens to a message for a peer whose write queue is full.

`wait` (the default) refuses it with `WriteQueueFull`, so that the sender waits with `drain()`, and
nothing is lost; `drop-oldest` makes room for it; `drop-newest` drops it; `disconnect` ends the
connection with a reset, as a close frame would wait behind what is not read.
"""

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SECONDS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0, "min": 60.0, "h": 3600.0}
_COUNT_MAX = (1 << 63) - 1
_SMALL_COUNT_MAX = (1 << 32) - 1
_SMALL_COUNTS = frozenset(
    {
        "connections_max",
        "connections_per_address_max",
        "accepts_per_second_max",
        "handshakes_pending_max",
        "fragments_max",
        "requests_per_connection_max",
        "topics_per_connection_max",
        "subscriptions_max",
        "datagrams_pending_max",
        "threads_max",
    }
)
"""Limits that the engine counts in 32 bits; the others are of bytes, and a few of objects."""


_ZERO_ALLOWED = frozenset({"body_bytes_max"})
"""Limits that may be 0: nothing of the kind is accepted then."""

_RATES = (
    "vespiary.filters.RateLimit limits the bytes per second; to limit messages per second, sleep in"
    " the handler or count them there"
)
_ELSEWHERE = dict.fromkeys(
    ("messages_per_second_max", "bytes_per_second_max", "rate_max", "rate_limit"), _RATES
)
"""Names that look like one of a limit, and what to write."""


class _Settings:
    """What `Limits` and `Deadlines` share: reading fields from texts and telling what is wrong."""

    __slots__ = ()

    @classmethod
    def from_texts(cls, texts: dict[str, str]) -> Self:
        """Make one from names and texts, as a command line or a file has them.

        Counts take `1000`, `64KiB`, `2MiB`, `1GiB`; seconds take `10`, `250ms`, `5s`, `2min`, `1h`;
        `none` lifts a limit where that is allowed.

        Raises:
            LimitsError: an unknown name (the nearest known one is suggested), a text that is not
                a value, or a value out of range.
        """
        known = _fields(cls)
        check_names(texts, known, cls.__name__, LimitsError, _ELSEWHERE)
        values: dict[str, Any] = {}
        for name, text in texts.items():
            values[name] = _parse(cls, name, text)
        return cls(**values)


@checks_names(LimitsError, _ELSEWHERE)
@dataclass(frozen=True, slots=True, kw_only=True)
class Limits(_Settings):
    """How much the peers of an endpoint may use. `None` means no limit, if the type allows it.

    Attributes:
        connections_max: Open connections, including those in their handshake, and those that have
            ended but whose handler still works. 100,000: ten times what one process usually serves,
            and about 100 MB of memory if they are idle. The process's limit for file descriptors is
            often lower; when it is reached, accepting pauses.
        connections_per_address_max: The same from one IP address. No limit: behind a proxy or the
            NAT of an internet provider, many people share an address.
        accepts_per_second_max: New connections per second. No limit: accepting a connection is
            cheap, and other limits apply to what follows.
        handshakes_pending_max: Connections whose handshake is not finished. 10,000: enough for many
            clients that reconnect after a restart, but a limit for a flood of half-open
            connections.
        message_bytes_max: Bytes of one message, after reassembly. A longer message closes the
            connection (code 1009). 1 MiB, as in other WebSocket servers.
        frame_bytes_max: Bytes of one WebSocket frame. `None`: only the limit for a message applies.
        fragments_max: Frames of one WebSocket message. 16,384: a message of 1 MiB may be sent in
            frames of 64 bytes. Smaller frames are inefficient.
        header_bytes_max: Bytes of the HTTP request head. A longer one is answered with 431. 16 KiB:
            browsers with many cookies send 8 KiB.
        headers_max: Fields of the HTTP request head. More are answered with 431. 100: browsers send
            about 20.
        body_bytes_max: Bytes of the body of an HTTP request. A longer one is answered with 413. 0
            refuses every body. The body is in memory while the request is answered, unless the
            handler sets `stream_requests`. 1 MiB: enough for forms and JSON.
        requests_per_connection_max: HTTP requests on one connection. After the last response, the
            connection is closed. 1,000: a new connection is needed rarely, and a load balancer can
            still move clients to another server.
        topics_per_connection_max: Topics that a connection is subscribed to. 1,000: more than
            clients usually need, and at most 200 KB of memory per connection if peers choose the
            topics.
        subscriptions_max: Subscriptions of all connections of the endpoint together. 1,000,000: ten
            for each of 100,000 connections, and at most 200 MB of memory.
        topic_bytes_max: Bytes of a topic's name in UTF-8. 256: enough for a path, or a name and a
            number.
        write_high_bytes: While more bytes than this wait to be sent to a peer, Vespiary does not
            read from this peer. 64 KiB: about what a good network accepts at once.
        write_low_bytes: When at most this many bytes wait, reading continues, and `on_drain` is
            called. 16 KiB: well below `write_high_bytes`, so that reading does not pause and
            continue with each message.
        write_bytes_max: The most bytes that may wait to be sent. Then the policy for slow consumers
            decides. 16 MiB: room for a few large messages, and a limit for the memory of one slow
            peer.
        inbox_messages_max: Messages that wait until a coroutine receives them. Then reading pauses,
            so pings are not answered either. 64: a coroutine can wait for a database for a while
            without pausing its peer.
        inbox_bytes_max: Bytes of the messages that wait until a coroutine receives them. Then
            reading pauses too. 1 MiB: one message of the largest size, or 64 of 16 KiB.
        datagram_bytes_max: Bytes of a received datagram. A longer one is dropped. 64 KiB: the
            maximum of UDP.
        datagrams_pending_max: Datagrams that an async handler is still processing. Further ones
            are dropped. 1,000: each is a task.
        threads_max: Threads that run the handler's methods with `executor="threads"`. Further calls
            wait for a thread. 32: enough if the methods mostly wait for a disk. If they wait for
            slow servers, more are better.
    """

    connections_max: int | None = 100_000
    connections_per_address_max: int | None = None
    accepts_per_second_max: int | None = None
    handshakes_pending_max: int | None = 10_000
    message_bytes_max: int | None = 1 << 20
    frame_bytes_max: int | None = None
    fragments_max: int | None = 1 << 14
    header_bytes_max: int = 16 << 10
    headers_max: int = 100
    body_bytes_max: int | None = 1 << 20
    requests_per_connection_max: int | None = 1000
    topics_per_connection_max: int | None = 1000
    subscriptions_max: int | None = 1_000_000
    topic_bytes_max: int = 256
    write_high_bytes: int = 64 << 10
    write_low_bytes: int = 16 << 10
    write_bytes_max: int = 16 << 20
    inbox_messages_max: int = 64
    inbox_bytes_max: int = 1 << 20
    datagram_bytes_max: int = 1 << 16
    datagrams_pending_max: int = 1000
    threads_max: int = 32

    def __post_init__(self) -> None:
        """Check every field, and the order of the three bounds of the write queue."""
        for name, optional in _fields(type(self)).items():
            _check_count(name, getattr(self, name), optional=optional)
        if not self.write_low_bytes <= self.write_high_bytes <= self.write_bytes_max:
            raise LimitsError(
                "Limits need write_low_bytes <= write_high_bytes <= write_bytes_max; got"
                f" {self.write_low_bytes}, {self.write_high_bytes} and {self.write_bytes_max}:"
                " set the others too",
                subject="write_high_bytes",
                value=self.write_high_bytes,
            )


@checks_names(LimitsError)
@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines(_Settings):
    """How long things may take, in seconds. `None` means no limit.

    Deadlines for a step are absolute: a peer cannot extend `handshake_seconds` or `message_seconds`
    by sending one byte per second. Deadlines for silence begin again after each activity.

    Attributes:
        handshake_seconds: From the start of the connection to the end of the handshake, and from
            the first byte of each further HTTP request to its response. With `stream_requests`, at
            least 4 KiB of a body must arrive in each such period. 10: a bad mobile network needs 3
            seconds.
        keep_alive_seconds: From an HTTP response to the first byte of the next request. Then the
            connection is closed. 75: longer than the 60 seconds of most proxies. So the proxy
            closes first, and does not send a request on a connection that is being closed.
        first_byte_seconds: From the start of the connection to the peer's first byte, on endpoints
            without a handshake. None: in many protocols the server sends first.
        message_seconds: From the first byte of a message to its last. None: the right value depends
            on the size of the messages and on the network.
        idle_seconds: Time without a byte from the peer. None: many WebSockets are silent for a long
            time, and pings detect dead peers.
        data_seconds: Time without a message from the peer, even if it answers pings. A message
            counts from its first byte. None: many protocols are silent for hours. Set it for feeds
            that send all the time, where silence means that something has failed.
        datagram_idle_seconds: Time without a datagram from the peer of a pseudo-connection
            (`connections=True`). Then the peer is forgotten, and its connection is closed, because
            a peer of UDP cannot say that it leaves. 60: many routers forget a UDP peer earlier, and
            a peer that is still there begins a new connection with its next datagram.
        write_seconds: Time without progress while bytes wait to be sent, even while the connection
            closes. A slow peer that still reads is not disconnected: progress means that it accepts
            512 bytes in this time (in the first period, in its second half). 60: a peer that reads
            nothing for a minute is dead or malicious.
        drain_seconds: How long a graceful stop may take. Then the remaining connections are reset.
            The last quarter of this time, at most `close_seconds`, is for close frames. 8: common
            container platforms kill a process after 10 seconds, and `on_stop` needs time too.
        close_seconds: From our close frame or FIN to that of the peer. It counts from the moment at
            which the peer's kernel has acknowledged all bytes that were sent before. Until then
            `write_seconds` applies, or `close_seconds` if that is None or if the peer's close frame
            has arrived. 5: a peer needs only one round trip.
        ping_interval_seconds: If a WebSocket peer is silent for this time, Vespiary sends a ping.
            20: less than the 30 to 60 seconds after which many routers and proxies drop a silent
            connection.
        ping_timeout_seconds: From the first unanswered ping to the next byte from the peer. Further
            pings are sent at each interval. 20: a phone that changes its network is back within
            this time. While this end does not read, or while the peer still receives bytes that
            were sent before the ping, acknowledgements by the peer's kernel are enough. If a
            Vespiary peer is busy and does not read, it sends a pong every half second while bytes
            wait, so at least 1 second is safe. For bytes that wait for a peer that does not read,
            `write_seconds` applies, unless its kernel acknowledges nothing at all.
        tcp_keepalive_seconds: After this time of silence on a TCP connection, the kernel sends
            probes to the peer (SO_KEEPALIVE): up to three, at intervals of a third of this time. If
            the peer does not answer, the connection ends (`ETIMEDOUT`), whether or not this end
            reads. 60: on connections without pings, a dead peer is noticed within two minutes. The
            kernel counts in whole seconds.
        thread_idle_seconds: How long a thread of `executor="threads"` waits for the next call. Then
            it ends. 30: starting a thread takes little time, and an idle one little memory, so this
            is only for the time after a peak. `None`: threads stay until the server stops.
    """

    handshake_seconds: float | None = 10.0
    keep_alive_seconds: float | None = 75.0
    first_byte_seconds: float | None = None
    message_seconds: float | None = None
    idle_seconds: float | None = None
    data_seconds: float | None = None
    datagram_idle_seconds: float | None = 60.0
    write_seconds: float | None = 60.0
    drain_seconds: float | None = 8.0
    close_seconds: float | None = 5.0
    ping_interval_seconds: float | None = 20.0
    ping_timeout_seconds: float | None = 20.0
    tcp_keepalive_seconds: float | None = 60.0
    thread_idle_seconds: float | None = 30.0

    def __post_init__(self) -> None:
        """Check every field."""
        for name in _fields(type(self)):
            _check_seconds(name, getattr(self, name))


_known_fields: dict[type[Any], dict[str, bool]] = {}


def _fields(cls: type[Any]) -> dict[str, bool]:
    """The fields of a settings class, and whether each may be None.

    They are kept: a client makes its settings for each connection.
    """
    if cls not in _known_fields:
        fields = dataclasses.fields(cls)
        _known_fields[cls] = {item.name: type(None) in get_args(item.type) for item in fields}
    return _known_fields[cls]


def _check_count(name: str, value: object, *, optional: bool) -> None:
    if value is None and optional:
        return
    most = _SMALL_COUNT_MAX if name in _SMALL_COUNTS else _COUNT_MAX
    least = 0 if name in _ZERO_ALLOWED else 1
    if type(value) is int and least <= value <= most:
        return
    wanted = f"a whole number of at least {least}"
    if type(value) is int and value > most:
        wanted = f"a whole number from {least} to {most}"
    raise _wrong("Limits", name, value, f"{wanted}, or None for no limit" if optional else wanted)


def _check_seconds(name: str, value: object) -> None:
    if value is not None and not is_seconds(value, zero=False):
        raise _wrong("Deadlines", name, value, wanted_seconds("None for never", zero=False))


def _wrong(owner: str, name: str, value: object, wanted: str) -> LimitsError:
    return LimitsError(f"{owner}.{name} must be {wanted}; got {value!r}", subject=name, value=value)


def _parse(cls: type[Any], name: str, text: str) -> int | float | None:
    """The value that a text gives for a field; its range is checked by the class itself."""
    text = text.strip()
    if text.lower() == "none":
        return None
    if cls is Limits:
        match = re.fullmatch(r"(\d[\d_,]*) *([kmg]?)(?:i?b)?", text.lower(), re.ASCII)
        if match:
            return int(match[1].replace("_", "").replace(",", "")) * _UNITS[match[2]]
        raise _wrong(cls.__name__, name, text, "a number such as 1000, 64KiB or 2MiB, or none")
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+) *(ms|s|m|min|h)?", text.lower(), re.ASCII)
    if match:
        return float(match[1]) * _SECONDS[match[2] or ""]
    raise _wrong(cls.__name__, name, text, "a time such as 10, 250ms, 5s or 2min, or none")
