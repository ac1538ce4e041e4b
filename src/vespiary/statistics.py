"""Statistics of servers, endpoints and connections, as frozen dataclasses.

Most fields are counters since the start of the object, and only grow. A field whose description
ends with "now" is a current value. Bytes are counted as they are on the network, with the framing.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "CompressionStatistics",
    "ConnectionStatistics",
    "EndpointStatistics",
    "PortStatistics",
    "ServerStatistics",
    "ThreadStatistics",
    "TimerStatistics",
    "TopicStatistics",
    "WorkerStatistics",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionStatistics:
    """The compression of messages. Only the payloads of compressed messages are counted.

    Attributes:
        messages_received: Compressed messages that were received.
        compressed_bytes_received: Their bytes before they were decompressed.
        original_bytes_received: Their bytes after that.
        messages_sent: Messages that were sent compressed.
        compressed_bytes_sent: Their bytes after they were compressed.
        original_bytes_sent: Their bytes before that.
        memory_bytes: Memory that is used for compression, now.
    """

    messages_received: int = 0
    compressed_bytes_received: int = 0
    original_bytes_received: int = 0
    messages_sent: int = 0
    compressed_bytes_sent: int = 0
    original_bytes_sent: int = 0
    memory_bytes: int = 0

    @property
    def ratio_received(self) -> float:
        """How many times larger what came was in truth; 1.0 when nothing came."""
        return _ratio(self.original_bytes_received, self.compressed_bytes_received)

    @property
    def ratio_sent(self) -> float:
        """How many times smaller the sent messages became; 1.0 if none was sent."""
        return _ratio(self.original_bytes_sent, self.compressed_bytes_sent)

    def __add__(self, other: "CompressionStatistics") -> "CompressionStatistics":
        """The sum, field by field."""
        if not isinstance(other, CompressionStatistics):
            return NotImplemented
        sums = {name: getattr(self, name) + getattr(other, name) for name in self.__slots__}
        return CompressionStatistics(**sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStatistics:
    """One connection.

    Attributes:
        messages_received: Whole messages handed to the handler.
        messages_sent: Messages taken for sending.
        bytes_received: Bytes read from the peer.
        bytes_sent: Bytes that the kernel accepted.
        messages_dropped: Messages dropped by the policy for slow consumers.
        queued_bytes: Bytes that wait to be sent, now.
        open_seconds: How long it has been open, now.
        compression: Its compression.
    """

    messages_received: int = 0
    messages_sent: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    messages_dropped: int = 0
    queued_bytes: int = 0
    open_seconds: float = 0.0
    compression: CompressionStatistics = CompressionStatistics()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStatistics:
    """One endpoint, and all connections it ever had.

    Attributes:
        url: The endpoint, with the port in use; empty in a total.
        connections_accepted: Connections that were accepted.
        connections_open: Connections that are open and ready for messages, now.
        connections_finishing: Connections that have ended while their handler still works, now.
            They count for `connections_max` and `connections_per_address_max`.
        connections_closed: Connections that were open and have ended.
        connections_broken: Connections among the closed ones that did not end cleanly.
        close_codes: Connections among the closed ones that had a WebSocket close code, by the code.
        handshakes_pending: Connections in their opening handshake, now.
        connections_refused: Connections that never opened, by the name of the reason: a limit, the
            status of the latest answer (`status_404`), or what ended the connection before there
            was one (`peer`, `local`, `errno_104`). One that was kept for several HTTP requests
            counts once. `status_200` and other statuses below 400 are not refusals: these
            connections ended after an ordinary HTTP response.
        requests_answered: HTTP requests that were answered with a status other than 101, by status.
        messages_received: Whole messages handed to handlers.
        messages_sent: Messages taken for sending.
        bytes_received: Bytes read from peers.
        bytes_sent: Bytes that the kernel took.
        messages_dropped: Messages dropped by the policy for slow consumers, and those of other
            threads that met a full queue.
        datagrams_received: Datagrams handed to handlers.
        datagrams_sent: Datagrams that the kernel took.
        datagrams_dropped: Datagrams that were dropped, by the reason: `datagram_bytes_max` (too
            long), `receive_buffer` (the kernel's buffer was full, see `receive_buffer_bytes`),
            `datagrams_pending_max`, `write_bytes_max`, `no_address` (an answer to a Unix socket
            without a name), `clients_max` and `no_upstream` (by a gateway), `closed` (queued at the
            end), or the name of the errno with which the kernel refused to send it.
        datagram_errors: Errors that the network reported of datagrams that were sent before (ICMP),
            by the name of the errno, such as `ECONNREFUSED`. They stop nothing.
        protocol_errors: Connections that were ended because the peer violated the protocol. Limits
            that it exceeded are counted only in `limits_reached`.
        write_pauses: How often reading from a peer paused because too much waited to be sent to it.
        budget_exhausted: How often a connection had to wait for the others, because it had sent so
            much at once (its inline budget was used up).
        handler_errors: Exceptions that handlers raised.
        compression: What compression did.
        limits_reached: How often a limit or deadline was reached, by the name of its field. A full
            write queue counts once until it has fallen to `write_low_bytes`; messages that were
            dropped until then are in `messages_dropped`.
        accept_errors: Connections that could not be accepted, by the name of the error of
            accept(2).
    """

    url: str = ""
    connections_accepted: int = 0
    connections_open: int = 0
    connections_finishing: int = 0
    connections_closed: int = 0
    connections_broken: int = 0
    close_codes: Mapping[str, int] = field(default_factory=dict)
    handshakes_pending: int = 0
    connections_refused: Mapping[str, int] = field(default_factory=dict)
    requests_answered: Mapping[str, int] = field(default_factory=dict)
    messages_received: int = 0
    messages_sent: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    messages_dropped: int = 0
    datagrams_received: int = 0
    datagrams_sent: int = 0
    datagrams_dropped: Mapping[str, int] = field(default_factory=dict)
    datagram_errors: Mapping[str, int] = field(default_factory=dict)
    protocol_errors: int = 0
    write_pauses: int = 0
    budget_exhausted: int = 0
    handler_errors: int = 0
    compression: CompressionStatistics = CompressionStatistics()
    limits_reached: Mapping[str, int] = field(default_factory=dict)
    accept_errors: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "EndpointStatistics") -> "EndpointStatistics":
        """The sum of two endpoints' counters, without a URL where they differ in it."""
        if not isinstance(other, EndpointStatistics):
            return NotImplemented
        sums: dict[str, Any] = {
            name: _sum(getattr(self, name), getattr(other, name))
            for name in self.__dataclass_fields__
            if name != "url"
        }
        return EndpointStatistics(url=self.url if self.url == other.url else "", **sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortStatistics:
    """One completion port.

    Attributes:
        driver: `uring` or `epoll`; empty before the first start.
        turns: How often the loop has waited for events.
        system_calls: System calls for I/O and waiting.
        completions: I/O operations that were completed.
        buffers_exhausted: Receives that ended because no buffer was free; they continue by
            themselves.
    """

    driver: str = ""
    turns: int = 0
    system_calls: int = 0
    completions: int = 0
    buffers_exhausted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadStatistics:
    """The threads that run handlers with `executor="threads"`.

    Attributes:
        threads: Threads, now.
        threads_busy: Those among them that run a handler, now.
        calls_waiting: Calls of handlers that wait for a thread, or for an earlier call of the same
            connection, now.
        calls_run: Calls that have begun.
        wait_seconds_max: The longest time that one of them had waited.
        wait_seconds_total: The sum over all of them.
    """

    threads: int = 0
    threads_busy: int = 0
    calls_waiting: int = 0
    calls_run: int = 0
    wait_seconds_max: float = 0.0
    wait_seconds_total: float = 0.0

    @property
    def wait_seconds_mean(self) -> float:
        """How long a call has waited on average; 0.0 when none has begun."""
        return self.wait_seconds_total / self.calls_run if self.calls_run else 0.0

    def __add__(self, other: "ThreadStatistics") -> "ThreadStatistics":
        """The threads of two endpoints together."""
        if not isinstance(other, ThreadStatistics):
            return NotImplemented
        sums = {name: getattr(self, name) + getattr(other, name) for name in self.__slots__}
        sums["wait_seconds_max"] = max(self.wait_seconds_max, other.wait_seconds_max)
        return ThreadStatistics(**sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerStatistics:
    """The timers of a loop: those that `Server.set_timer` and `Connection.set_timer` have set.

    How late a timer is, is measured when its callback is called, from the moment for which it was
    set. Timers have a resolution of a millisecond, so on an idle loop they are up to one
    millisecond late, and never early.

    Attributes:
        timers_set: Timers that were set.
        timers_moved: How often one was moved to another time, with `Timer.update`.
        timers_fired: Callbacks that were called; a timer that repeats counts each time.
        timers_cancelled: Timers that were cancelled, or whose connection ended before they fired.
        timers_waiting: Timers that have not fired, those that repeat included, now.
        calls_skipped: Calls of timers that repeat, skipped because the loop was busy for longer
            than their period.
        late_seconds_max: How late the latest timer was.
        late_seconds_total: The sum over all that have fired.
    """

    timers_set: int = 0
    timers_moved: int = 0
    timers_fired: int = 0
    timers_cancelled: int = 0
    timers_waiting: int = 0
    calls_skipped: int = 0
    late_seconds_max: float = 0.0
    late_seconds_total: float = 0.0

    @property
    def late_seconds_mean(self) -> float:
        """How late a timer was on average; 0.0 when none has fired."""
        return self.late_seconds_total / self.timers_fired if self.timers_fired else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicStatistics:
    """The topics of a server.

    Attributes:
        topics: Topics with a subscriber by name, now.
        patterns: Subscriptions by pattern, now.
        published: Messages that were published.
        deliveries: How often a subscriber got one of them.
        retained_messages: Messages that are retained, now.
        retained_bytes: Bytes of these messages and of their topics' names, now.
        retained_refused: Messages that were not published because a limit did not allow to retain
            them.
        members: Connections of this process that are present in topics (see `Server.enter`), now.
        members_elsewhere: Those of other processes, now.
        members_lost: Those that were removed because their process was not heard of any more.
    """

    topics: int = 0
    patterns: int = 0
    published: int = 0
    deliveries: int = 0
    retained_messages: int = 0
    retained_bytes: int = 0
    retained_refused: int = 0
    members: int = 0
    members_elsewhere: int = 0
    members_lost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatistics:
    """A worker of a server, with its earlier processes.

    What a killed process had counted stays. It counts until the end of a round of its loop; the
    connections that it had count as closed and broken.

    Attributes:
        number: Its number, from 1.
        process: Its process now; None while none serves.
        processes_started: How many processes it has had.
        endpoints: Its counters for each endpoint that the server had at its start.
        published_messages_sent: Messages of `publish` and `send_to` sent to other workers, each
            counted once.
        published_messages_received: Those that came from other workers.
        published_messages_dropped: Those dropped because another worker did not take
            them, counted for each such worker: see `Workers.backplane_bytes_max`.
    """

    number: int
    process: int | None = None
    processes_started: int = 0
    endpoints: tuple[EndpointStatistics, ...] = ()
    published_messages_sent: int = 0
    published_messages_received: int = 0
    published_messages_dropped: int = 0

    @property
    def total(self) -> EndpointStatistics:
        """The sum over all endpoints."""
        return sum(self.endpoints, start=EndpointStatistics())


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatistics:
    """A server: its port and its endpoints.

    With workers, the numbers of the endpoints are the sums over all of them, in every process.

    Attributes:
        port: The completion port of this process.
        endpoints: Its endpoints, in the order in which they were added.
        topics: Its topics in this process.
        timers: The timers of its loop in this process: its own, those of its connections, and those
            of other servers and clients on the same loop.
        threads: The threads of its endpoints with `executor="threads"`, in this process.
        running_seconds: How long it has been running, now.
        workers: Its workers; empty without workers.
    """

    port: PortStatistics
    endpoints: tuple[EndpointStatistics, ...] = ()
    topics: TopicStatistics = TopicStatistics()
    timers: TimerStatistics = TimerStatistics()
    threads: ThreadStatistics = ThreadStatistics()
    running_seconds: float = 0.0
    workers: tuple[WorkerStatistics, ...] = ()

    @property
    def total(self) -> EndpointStatistics:
        """The sum over all endpoints."""
        return sum(self.endpoints, start=EndpointStatistics())


def _ratio(original: int, compressed: int) -> float:
    return original / compressed if compressed else 1.0


def _sum(one: Any, other: Any) -> Any:
    if isinstance(one, int | CompressionStatistics):
        return one + other
    return dict(Counter(one) + Counter(other))
