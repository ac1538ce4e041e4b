"""How much a peer may ask of a server, and how long it may take: `Limits` and `Deadlines`.

Both are values: frozen, checked when made, and passed whole. `dataclasses.replace` makes a changed
copy. Each reached limit is a refusal with a reason, a counter and an event, never a crash.
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
        "datagrams_pending_max",
    }
)
"""Limits that the engine counts in 32 bits; the others are of bytes, and a few of objects."""


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
        check_names(texts, known, cls.__name__, LimitsError)
        values: dict[str, Any] = {}
        for name, text in texts.items():
            values[name] = _parse(cls, name, text)
        return cls(**values)


@checks_names(LimitsError)
@dataclass(frozen=True, slots=True, kw_only=True)
class Limits(_Settings):
    """How much an endpoint takes; `None` means no limit, where the type allows it.

    Attributes:
        connections_max: Open connections, those in their handshake included. 100,000: ten times
            what one process usually serves, and about 100 MB of ours when idle. The process's limit
            on descriptors is often lower, and then accepting pauses instead.
        connections_per_address_max: Open connections from one IP address. No limit: behind a proxy
            or a carrier's NAT one address is many people.
        accepts_per_second_max: New connections a second. No limit: accepting is cheap; what follows
            a connection has limits of its own.
        handshakes_pending_max: Connections whose opening handshake is not finished. 10,000: a
            restart's rush of reconnecting clients passes; a flood of half-open ones does not.
        message_bytes_max: Bytes of one message, after reassembly; a longer one closes the
            connection (code 1009). 1 MiB, as other WebSocket servers have it.
        frame_bytes_max: Bytes of one WebSocket frame. `None`: as many as of a message.
        fragments_max: Frames of one WebSocket message. 16,384: a message of 1 MiB may come in
            frames of 64 bytes; smaller pieces cost more than they carry.
        header_bytes_max: Bytes of the HTTP request head (a longer one gets status 431). 16 KiB:
            browsers with many cookies send 8.
        headers_max: Fields of the HTTP request head (more get status 431). 100: browsers send 20.
        requests_per_connection_max: HTTP requests answered on one connection; the last answer
            closes it. 1,000: nobody notices a new connection so rarely, and load that a balancer
            moved elsewhere follows.
        topics_per_connection_max: Topics that a connection is subscribed to. 1,000: more than a
            client follows at a time, and 200 KB of memory for it at most where peers choose.
        topic_bytes_max: Bytes of a topic's name in UTF-8. 256: a path, or a name and a number.
        write_high_bytes: While more bytes than this wait to be sent to a peer, nothing is read from
            it. 64 KiB: what a connection on a good network takes in one go.
        write_low_bytes: When no more than this wait, reading goes on, and `on_drain` is called.
            16 KiB, so that the two do not alternate with each message.
        write_bytes_max: The most bytes that may wait; then the policy for slow consumers decides.
            16 MiB: bounds what one stalled peer costs, and holds a few large messages.
        inbox_messages_max: Messages that wait for a coroutine's next receive; then reading pauses,
            and with it the answers to pings. 64: a coroutine that awaits a database does not stall
            its peer.
        inbox_bytes_max: Bytes of the messages that wait for it; at this many reading pauses too.
            1 MiB: one message of the largest size, or 64 of 16 KiB.
        datagram_bytes_max: Bytes of a datagram that is received; a longer one is dropped. 64 KiB:
            as long as one of UDP may be.
        datagrams_pending_max: Datagrams that an async handler is working on; those that come on top
            are dropped. 1,000: each is a task.
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
    requests_per_connection_max: int | None = 1000
    topics_per_connection_max: int | None = 1000
    topic_bytes_max: int = 256
    write_high_bytes: int = 64 << 10
    write_low_bytes: int = 16 << 10
    write_bytes_max: int = 16 << 20
    inbox_messages_max: int = 64
    inbox_bytes_max: int = 1 << 20
    datagram_bytes_max: int = 1 << 16
    datagrams_pending_max: int = 1000

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
    """How long things may take, in seconds; `None` means as long as they like.

    Each is absolute: a peer that sends one byte per second does not extend it.

    Attributes:
        handshake_seconds: From the connection's start to the end of the opening handshake, and from
            the first byte of each further HTTP request to its answer. 10: a
            bad mobile network needs three; nobody types a handshake.
        keep_alive_seconds: From an HTTP answer to the first byte of the next request; then the
            connection is closed. 75: more than the 60 after which most proxies close, so that
            they close first, and no request meets a closing connection.
        first_byte_seconds: From the connection's start to the peer's first byte, on endpoints
            without a handshake. None: many protocols let the server speak first.
        message_seconds: From the first byte of a message to its last. None: how long a message may
            take depends on its size and on the network.
        idle_seconds: Without a byte from the peer. None: long silence is what WebSockets are for,
            and the keep-alive finds the dead ones.
        data_seconds: Without a message from the peer, whatever pings it answers; a message under
            way counts from its first byte. None: many protocols are silent for hours. For feeds
            that send all the time, where silence means that something behind the server has failed.
        write_seconds: While bytes wait to be sent, without progress: a peer that is slow and still
            takes some is not ended, also while the connection closes. Progress is 512 bytes in the
            second half of this time. 60: a peer that has read nothing for a minute is gone or means
            harm.
        drain_seconds: How long a graceful stop may take, until the last connection is reset. The
            last quarter of it, at most `close_seconds`, is for close frames. 8: container platforms
            commonly kill after 10, and `on_stop` comes after it.
        close_seconds: From our close frame, or our FIN, to the peer's. It counts from the moment
            at which the peer's kernel has acknowledged all that was sent before; until then
            `write_seconds` applies, or `close_seconds` if that is None or the peer's close frame
            has come. 5: a living peer needs one round trip.
        ping_interval_seconds: Silence after which a WebSocket peer is sent a ping. 20: under the 30
            to 60 seconds after which middle-boxes forget a connection.
        ping_timeout_seconds: From the first ping that nothing has answered to the peer's next byte;
            pings go on each interval meanwhile. 20: a phone that changes its network comes back
            within it. While this end does not read, or while the peer still takes bytes that were
            sent before the ping, the acknowledgements of the peer's kernel are enough. A Vespiary
            end that is busy and does not read sends a pong each half second while bytes wait, so
            busy ends do not end each other from 1 second up. Bytes that wait for a peer that does
            not read fall under `write_seconds`, unless its kernel acknowledges nothing at all.
        tcp_keepalive_seconds: Silence on a TCP connection after which the kernel probes the peer's
            (SO_KEEPALIVE), up to three times, a third of this apart; a peer that does not answer
            is gone (`ETIMEDOUT`), whether or not this end reads. 60: a dead peer of a connection
            without pings is noticed within two minutes, for one packet per minute of silence. The
            kernel counts in whole seconds.
    """

    handshake_seconds: float | None = 10.0
    keep_alive_seconds: float | None = 75.0
    first_byte_seconds: float | None = None
    message_seconds: float | None = None
    idle_seconds: float | None = None
    data_seconds: float | None = None
    write_seconds: float | None = 60.0
    drain_seconds: float | None = 8.0
    close_seconds: float | None = 5.0
    ping_interval_seconds: float | None = 20.0
    ping_timeout_seconds: float | None = 20.0
    tcp_keepalive_seconds: float | None = 60.0

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
    if type(value) is int and 1 <= value <= most:
        return
    wanted = "a whole number of at least 1"
    if type(value) is int and value > most:
        wanted = f"a whole number from 1 to {most}"
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
