"""The native half. `Connection` and `Timer` are public; the rest is for `vespiary` alone.

A message is `str` when it came as WebSocket text, and `bytes` otherwise. A type checker learns
which of the two an endpoint gets from the type argument of `Handler` and `Connection`; without one,
messages are `Any`.
"""

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping
from contextvars import Context
from typing import Any, Generic, Literal, Self, final

from typing_extensions import Buffer, TypeVar, TypeVarTuple, Unpack, disjoint_base

from vespiary.errors import CloseReason
from vespiary.filters import Filter
from vespiary.request import Headers, Request
from vespiary.routing import PathPattern
from vespiary.statistics import ConnectionStatistics
from vespiary.tls import ClientTLS, ServerTLS, TLSInfo

__all__ = [
    "Application",
    "ClientTls",
    "Connection",
    "Core",
    "Datagram",
    "DatagramSocket",
    "Exchange",
    "Hooks",
    "HttpCall",
    "Listener",
    "LoadRun",
    "LoopBase",
    "ServerTls",
    "Site",
    "Stream",
    "Tap",
    "Timer",
    "Topics",
    "__version__",
    "bind_datagrams",
    "close_as_told",
    "copy_counters",
    "cue_stop",
    "end_with_peer",
    "exchange_of",
    "has_native_loop",
    "keep_heap",
    "make_authority",
    "make_certificate",
    "origin_fault",
    "push",
    "set_transport_class",
    "share_connections",
    "share_counters",
    "shutdown_begins",
    "symbolize",
    "tap_connection",
    "upgrade_header_fault",
    "upgrade_request_fault",
    "variable",
]

__version__: str

_Arguments = TypeVarTuple("_Arguments")
_Fields = Iterable[tuple[bytes, bytes] | tuple[str, str] | list[bytes] | list[str]]
_T = TypeVar("_T")
_M_co = TypeVar("_M_co", covariant=True, default=Any)
_T_co = TypeVar("_T_co", covariant=True)

class _Outcome(Coroutine[Any, Any, _T_co]):
    """A coroutine that may also be ignored, which a type checker complains of with others."""

    def __await__(self) -> Generator[Any, Any, _T_co]: ...
    def send(self, value: Any, /) -> Any: ...
    def throw(self, *error: Any) -> Any: ...
    def close(self) -> None: ...

@final
class Connection(Generic[_M_co]):
    """One client of a server, or a client's connection to a server.

    You can call the methods from any thread. In a thread other than the loop's, methods that return
    a value block until the loop has executed them. You cannot await there (RuntimeError): use
    `server.call_soon_threadsafe` to run a function on the loop's thread.

    `receive`, `ping`, `drain`, `close` and `wait_closed` return coroutines, which you can also pass
    to `asyncio.create_task` and `gather`. `send` queues the message and returns an awaitable that
    is not a coroutine. You need not await `send`, `ping` and `close`.

    A coroutine handler iterates over the connection: `async for message in connection`. The
    iteration ends when the peer closes the connection cleanly, and raises `ConnectionBroken`
    otherwise.
    """

    data: Any
    """For the handler's own data. Vespiary does not use it. It is None by default."""
    @property
    def peer(self) -> tuple[str, int] | str | None:
        """The address of the peer, which is host and port, or the path of a Unix socket.

        None if the peer has no address, such as the client of a Unix socket. You can also read it
        after the connection has ended.
        """

    @property
    def local_address(self) -> tuple[str, int] | str | None:
        """The address of this end, which is host and port, or the path of a Unix socket.

        None if this end has no address. You can also read it after the connection has ended.
        """

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent now."""

    @property
    def queued_bytes(self) -> int:
        """Bytes in the write queue, which the kernel has not accepted yet."""

    @property
    def subprotocol(self) -> str | None:
        """The WebSocket subprotocol that was chosen in the handshake; None if there is none."""

    @property
    def version(self) -> Literal[13, 8] | None:
        """The version of WebSocket, 13 or for an old peer 8; None on other connections."""

    @property
    def extensions(self) -> list[str]:
        """The negotiated WebSocket extensions, as in the header field Sec-WebSocket-Extensions."""

    @property
    def response_headers(self) -> Headers:
        """The header fields of the server's response to a client's handshake.

        Empty on a server, and on streams.
        """

    @property
    def close_reason(self) -> CloseReason | None:
        """Why the connection has ended; None before that."""

    @property
    def is_shutting_down(self) -> bool:
        """Whether the server is stopping, even after the end. Handlers should then finish soon."""

    @property
    def tls(self) -> TLSInfo | None:
        """The parameters of TLS, even after the end of the connection; None without TLS."""

    @property
    def request(self) -> Request | None:
        """The HTTP request that opened the connection; None on streams and on clients.

        After `on_open` it raises RuntimeError, unless the code of a method of the handler contains
        `.request`, or `Handler.keep_request` is True.
        """

    def send(self, message: str | Buffer, /, *, compress: bool | None = None) -> Awaitable[None]:
        """Queue a message. It is sent with the other queued messages when the handler returns.

        A `str` is sent as a text message, a bytes-like object as a binary message. On a stream,
        both are sent as bytes, a `str` in UTF-8.

        On the loop's thread, `send` never blocks. To wait until the queue has room, await the
        result, or `drain()`. In another thread, `send` blocks until there is room, unless that
        thread runs its own Vespiary loop.

        Args:
            message: The whole message.
            compress: Whether to compress this message, if compression was negotiated. Default: as
                the `Compression` of the endpoint says.

        Raises:
            ConnectionClosed: the connection is closing or has ended.
            WriteQueueFull: `write_bytes_max` would be exceeded, and the policy is `wait`.
            ThreadCallsFull: too many calls of other threads are queued (only in other threads).
            SendRefused: another message is being sent in parts; or the message is too long for its
                length prefix, or contains a line break although each message is a line.
            TypeError: the message is neither text nor bytes, or `compress` is not a bool.
        """

    def send_part(
        self, data: str | Buffer, *, last: bool = False, compress: bool | None = None
    ) -> None:
        """Queue the next part of a message, for messages that are produced piece by piece.

        Args:
            data: The next bytes of the message. Text is sent as UTF-8.
            last: Whether the message ends with this part.
            compress: As for `send`. The value for the first part applies to the whole message.

        Raises:
            ConnectionClosed: the connection is closing or has ended.
            WriteQueueFull: `write_bytes_max` would be exceeded, and the policy is `wait`.
            SendRefused: the framing does not support parts (lines, length prefixes), or another
                task or callback is sending a message in parts.
            TypeError: the data is neither text nor bytes, or `last` or `compress` is not a bool.
        """

    def send_end(self) -> None:
        """Finish sending on a stream (half-close). You can still receive.

        The queued messages are sent first, and then the peer sees the end of the stream. When both
        ends have finished, the connection closes.

        Raises:
            ConnectionClosed: the connection is closing or has ended.
            SendRefused: the connection is not a stream, so it cannot be half-closed: use `close()`.
        """

    def ping(self, payload: bytes = b"") -> _Outcome[float]:
        """Send a WebSocket ping. Await the result to get the latency in seconds, or ignore it.

        Args:
            payload: At most 125 bytes. Default: a payload that no other ping has.

        Raises:
            ConnectionClosed: the connection is closing or has ended, or ends before the pong.
            SendRefused: too many pings are unanswered.
            ValueError: the payload is too long, or the connection is not a WebSocket.
        """

    def close(self, code: int = 1000, reason: str = "") -> _Outcome[CloseReason]:
        """Send the queued messages, and then close the connection cleanly.

        Await the result to wait for the end and get its `CloseReason`, or ignore it. A second call
        has no effect.

        Args:
            code: The WebSocket close code (RFC 6455 section 7.4). Ignored on streams.
            reason: A text for the peer, of at most 123 bytes in UTF-8.

        Raises:
            ValueError: the code is not allowed in a close frame, or the reason is too long (RFC
                6455 section 5.5).
        """

    def abort(self) -> None:
        """Reset the connection at once. Queued messages are dropped."""

    def pause_reading(self) -> None:
        """Stop reading from the peer until `resume_reading()`. TCP then slows the peer down."""

    def resume_reading(self) -> None:
        """Continue to read from the peer, after `pause_reading()`."""

    def subscribe(self, topic: str) -> bool:
        """Subscribe to a topic: send the peer what the server publishes to the topic from now on.

        A message that the topic retains is sent at once. Returns False if the connection was
        already subscribed.

        Raises:
            ConnectionClosed: the connection is closing or has ended.
            SendRefused: `topics_per_connection_max` topics of this connection, or
                `subscriptions_max` of the endpoint, are reached; the topic is longer than
                `topic_bytes_max`; or this is a client's connection.
        """

    def subscribe_pattern(self, pattern: str) -> bool:
        """Subscribe to all topics that match a pattern.

        Levels of topics are separated by `/`. In a pattern, `+` matches one level, and `#`, as the
        last level, matches any number of levels, including none (as in MQTT). The messages that the
        matching topics retain are sent at once. Returns False if the connection was already
        subscribed to this pattern.

        Raises:
            ConnectionClosed: the connection is closing or has ended.
            SendRefused: the pattern is not valid, or as for `subscribe`.
        """

    def unsubscribe(self, topic: str) -> bool:
        """End the subscription to a topic. Returns False if the connection was not subscribed."""

    def unsubscribe_pattern(self, pattern: str) -> bool:
        """End the subscription to a pattern. Returns False if there was none."""

    def set_timer(
        self, seconds: float, callback: Callable[[Self], object], *, repeat: bool = False
    ) -> Timer:
        """Call `callback(connection)` once after `seconds`, unless the connection ends before.

        With `repeat=True` it is called every `seconds`, in step with the first call: one that is
        late does not delay the next, and calls that are missed because the loop was busy are
        skipped. With `executor="threads"` one is skipped too while the call before it still waits.

        Raises:
            ConnectionClosed: the connection has ended.
            TypeError: `callback` is not callable, or is an async function.
            ValueError: `seconds` is not from 0 to 1e9, or not from 0.001 with `repeat`.
        """

    def start_tls(self, tls: ServerTLS | ClientTLS | None = None) -> _Outcome[TLSInfo]:
        """Continue with TLS on a `tcp://` or `unix://` connection (STARTTLS).

        Messages that were sent before this call are sent without TLS. Messages that are sent after
        it wait for the TLS handshake. Await the result to get the parameters of TLS (as in
        `connection.tls`), or ignore it. On a server, call this when the client has asked for TLS,
        right after you have sent the answer; on a client, when the server has agreed.

        If the peer has sent more bytes after the message that is being handled, without waiting for
        the handshake, the connection ends: these bytes were not encrypted, and must not be taken
        for encrypted ones (RFC 3207 section 6). With `framing="raw"`, check this yourself.

        Args:
            tls: A `ServerTLS` on a server; on a client a `ClientTLS`, or None for the authorities
                that this machine trusts.

        Raises:
            ConnectionClosed: the connection is closing or has ended, or ends before the end of the
                handshake, for example because that fails or takes longer than `handshake_seconds`.
            ConfigurationError: `tls` is not a valid value here, or the connection is not a stream.
            SendRefused: the connection uses TLS already, or `send_end()` was called; or the
                endpoint has filters, or `executor="threads"`.
            RuntimeError: it is called in another thread than the loop's.
        """

    def drain(self) -> Coroutine[Any, Any, None]:
        """Wait until the write queue has room.

        If the queue has exceeded `write_high_bytes`, wait until it has drained to
        `write_low_bytes`. Otherwise return at once.

        Raises:
            ConnectionClosed: the connection has ended.
        """

    def receive(self, timeout: float | None = None) -> Coroutine[Any, Any, _M_co]:
        """Wait for the next message and return it. For coroutine handlers and clients.

        Args:
            timeout: The longest time to wait, in seconds. Default: no limit.

        Raises:
            ConnectionClosed: the connection has ended, and all its messages have been received.
            ReceiveConflict: another task is already waiting for a message.
            TimeoutError: no message has arrived in time. No message is lost: call `receive` again.
        """

    def wait_closed(self) -> Coroutine[Any, Any, CloseReason]:
        """Wait until the connection has ended, and return its `CloseReason`.

        Raises:
            RuntimeError: it is called in a thread other than the loop's.
        """

    def statistics(self) -> ConnectionStatistics:
        """Return the statistics of this connection so far."""

    def __await__(self) -> Generator[Any]: ...
    @property
    def _context(self) -> Context: ...
    @property
    def _is_forwarded(self) -> bool: ...
    def _call_soon(self, callback: Callable[..., object], *arguments: object) -> None: ...
    def _send_soon(self, message: str | bytes) -> None: ...
    @classmethod
    def __class_getitem__(cls, messages: Any) -> types.GenericAlias: ...
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Awaitable[_M_co]: ...
    def _answer(self, answer: object) -> None: ...
    def _keep(self) -> None: ...
    def _hold_reading(self, is_held: bool) -> None: ...
    def _throttle_reading(self, is_held: bool) -> None: ...
    def _limit_sending(self, count: int) -> None: ...
    def _drop_messages(self) -> None: ...
    def _filtered(
        self, is_sent: bool, made: Buffer | str | None, error: BaseException | None
    ) -> None: ...
    def _filters(self, make: Callable[[], list[Filter]]) -> list[Filter]: ...
    def _fail(self, error: BaseException | None = None) -> None: ...
    def _report(self, error: BaseException) -> None: ...
    def _leave(self) -> None: ...
    def _task_done(self, task: asyncio.Future[Any]) -> None: ...

@final
class DatagramSocket:
    """A socket for datagrams of a server.

    Its methods may be called from any thread.
    """

    @property
    def address(self) -> tuple[str, int] | str:
        """The address that it is bound to, with the port that the kernel chose for 0.

        A pair of host and port, or the path of a Unix socket.
        """

    @property
    def is_closed(self) -> bool:
        """Whether it has been closed: when its server has stopped."""

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait to be taken by the kernel; 0 in another thread than the loop's."""

    def send_to(self, data: str | Buffer, peer: tuple[str, int] | str, /) -> bool:
        """Queue a datagram. It is sent with the other queued datagrams when the handler returns.

        May be called from any thread. You do not learn whether a datagram arrives. If the kernel
        refuses to send it, it is counted in `datagrams_dropped`.

        Args:
            data: The bytes of the datagram, possibly none. Text is sent as UTF-8.
            peer: An IP address and a port, as in `Datagram.peer`, or the path of a Unix socket.

        Returns:
            False if the datagram was dropped, because `write_bytes_max` are queued already.

        Raises:
            RuntimeError: the socket is closed.
            ThreadCallsFull: too many calls of other threads are queued (only in other threads).
            TypeError: the data is neither text nor bytes.
            ValueError: the peer is not a valid address, or its address family is not that of the
                socket.
        """

    def _refuse(self) -> None: ...
    def _not_carried(self, has_server: bool) -> None: ...
    def _fail(self, error: BaseException, peer: object) -> None: ...

@final
class Datagram:
    """A datagram that came. It may be kept, and answered later, from any thread."""

    @property
    def data(self) -> bytes:
        """Its bytes; they may be empty."""

    @property
    def peer(self) -> tuple[str, int] | str | None:
        """The address of its sender; None for a Unix socket without a name.

        A pair of host and port, or the path of a Unix socket. With UDP this is what the sender
        claims: see "UDP and datagrams" about spoofed addresses.
        """

    @property
    def local_address(self) -> tuple[str, int] | str:
        """The address to which it was sent.

        An address of this machine or of a multicast group, or a broadcast address, with the port;
        or the path of a Unix socket.
        """

    @property
    def ttl(self) -> int | None:
        """Its time to live or hop limit when it came; None without `packet_info=True`."""

    @property
    def ecn(self) -> int | None:
        """Its ECN bits, 0 to 3 (RFC 3168); None without `packet_info=True`."""

    @property
    def socket(self) -> DatagramSocket:
        """The socket on which it came."""

    def reply(self, data: str | Buffer, /) -> bool:
        """Send a datagram to its peer, from the address to which it was sent.

        Returns:
            False where it was dropped, because `write_bytes_max` wait to be sent already, or
            because the peer has no address.

        Raises:
            RuntimeError: the socket is closed.
            ThreadCallsFull: the loop takes no calls of other threads (raised in those only).
            TypeError: the data is neither text nor bytes.
        """

@final
class Timer:
    """A timer that was set; it can be moved and cancelled until it fires."""

    def update(self, seconds: float) -> bool:
        """Let the timer fire `seconds` from now, and not when it was set to.

        One that repeats does so every `seconds` from now on. This costs less than to cancel the
        timer and to set another. Returns False, and does nothing, when the timer has fired or was
        cancelled, or its connection has ended.

        Raises:
            ValueError: `seconds` is not from 0 to 1e9, or not from 0.001 if the timer repeats.
        """

    def cancel(self) -> bool:
        """Forget the timer; False when it has fired or was cancelled before."""

@final
class Core:
    """The engine of one loop. It belongs to the thread that runs the loop."""

    @property
    def driver(self) -> Literal["uring", "epoll", "sim"]: ...
    @property
    def choice(self) -> str: ...
    def __new__(
        cls,
        driver: str | None = None,
        spin_microseconds: int = 0,
        buffers: int | None = None,
        buffer_bytes: int | None = None,
        seed: int = 0,
        faults: dict[str, int] | None = None,
        is_guest: bool = False,
    ) -> Self: ...
    def time(self) -> float: ...
    def hold_time(self, is_held: bool) -> None: ...
    def register(self, descriptor: int, events: int) -> None: ...
    def unregister(self, descriptor: int) -> None: ...
    def select(
        self, timeout: float | None, event_loop: asyncio.AbstractEventLoop | None
    ) -> list[tuple[int, int]]: ...
    def enter_thread(self, is_closing: bool = False) -> None: ...
    def attach(
        self, event_loop: asyncio.AbstractEventLoop, schedule: Callable[[], object]
    ) -> None: ...
    def fileno(self) -> int: ...
    def turn(self) -> float | None: ...
    def guarded(self, function: Callable[[], object]) -> None: ...
    def topics(
        self, retained_messages_max: int | None, retained_bytes_max: int | None
    ) -> Topics: ...
    def site(
        self,
        url: str,
        hooks: Hooks,
        options: Mapping[str, object],
        topics: Topics,
        context: Context,
    ) -> Site: ...
    def listen(
        self,
        address: str | tuple[str, int] | int,
        site: Site,
        backlog: int = 4096,
        reuse_port: bool = False,
    ) -> Listener: ...
    def connect(
        self,
        address: str | tuple[str, int],
        url: str,
        hooks: Hooks,
        options: Mapping[str, object],
        handshake: tuple[str, str, list[str], list[tuple[str, str]]] | None = None,
        tunnel: tuple[str, list[tuple[str, str]]] | None = None,
        source: str | tuple[str, int] | None = None,
    ) -> Connection: ...
    def call_soon_threadsafe(self, callback: Callable[..., object], *arguments: object) -> None: ...
    def set_timer(
        self, seconds: float, callback: Callable[[], object], repeat: bool = False, owner: int = 0
    ) -> Timer: ...
    def cancel_timers(self, owner: int) -> None: ...
    def timer_statistics(self) -> dict[str, Any]: ...
    def port_statistics(self) -> dict[str, Any]: ...
    def close(self) -> None: ...

def keep_heap() -> None: ...

@final
class Exchange:
    """One HTTP request and its response. Only the loop's thread may use it."""

    @property
    def connection(self) -> Connection: ...
    @property
    def method(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def authority(self) -> str | None: ...
    @property
    def minor_version(self) -> int: ...
    @property
    def headers(self) -> list[tuple[bytes, bytes]]: ...
    @property
    def has_body(self) -> bool: ...
    @property
    def is_disconnected(self) -> bool: ...
    @property
    def is_peer_finished(self) -> bool: ...
    @property
    def is_started(self) -> bool: ...
    @property
    def is_over(self) -> bool: ...
    @property
    def is_writable(self) -> bool: ...
    def receive(self) -> bytes | None: ...
    def inform(self, status: int, headers: _Fields) -> None: ...
    def respond(self, status: int, headers: _Fields, body: Buffer) -> None: ...
    def start(self, status: int, headers: _Fields) -> bool: ...
    def write(self, data: Buffer) -> bool: ...
    def write_file(self, descriptor: int, offset: int, length: int) -> bool: ...
    @property
    def is_layered(self) -> bool: ...
    def end(self, trailers: _Fields | None = None) -> None: ...
    def abort(self) -> None: ...
    def set_waker(self, waker: Callable[[], object] | None) -> None: ...
    def changed(self) -> asyncio.Future[None]: ...

@final
class Application:
    """What an endpoint calls for each request of an ASGI application: the hook `exchange`."""

    def __new__(
        cls,
        app: Callable[[Any, Any, Any], Awaitable[object]],
        calls: set[object],
        starter: object,
        task_name: str,
        *,
        scope: dict[str, Any],
        extensions: dict[str, Any],
        state: dict[str, Any],
        removed_path: str,
        server: tuple[str | None, None] | None,
        is_behind_proxy: bool,
        has_access_log: bool,
    ) -> Self: ...

@final
class HttpCall(Coroutine[Any, Any, None]):
    """One HTTP request that an application answers. Only the loop's thread may use it."""

    status: int
    has_told: bool
    @property
    def exchange(self) -> Exchange: ...
    @property
    def stage(self) -> int: ...
    def receive(self) -> Awaitable[dict[str, Any]]: ...
    def transmit(self, message: Any) -> Awaitable[None]: ...
    def start(self) -> bool: ...
    def finish(self) -> None: ...
    def poll(self) -> dict[str, Any] | None: ...
    def watch(self) -> asyncio.Future[None]: ...
    def forget(self, waiter: asyncio.Future[None]) -> None: ...
    def wake(self) -> None: ...
    def send(self, value: Any) -> Any: ...
    def throw(self, *error: Any) -> Any: ...
    def close(self) -> None: ...
    def __await__(self) -> Generator[Any, Any]: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...

@final
class Topics:
    """The topics of one server, from its start to its end; from any thread."""

    def publish(
        self,
        topic: str,
        message: str | Buffer,
        but: Connection | None = None,
        compress: bool | None = None,
        retain: bool = False,
    ) -> int: ...
    def subscribers(self, topic: str) -> int: ...
    def subscribed(self, topic: str) -> list[Connection]: ...
    def retained(self, topic: str) -> bytes | str | None: ...
    def discard_retained(self, topic: str) -> bool: ...
    def statistics(self) -> dict[str, Any]: ...
    def end(self) -> None: ...

@final
class Hooks:
    """What an endpoint calls. A name that is not one of these is an error."""

    open: Callable[..., Any] | None
    message: Callable[..., Any] | None
    part: Callable[..., Any] | None
    datagram: Callable[..., Any] | None
    drain: Callable[..., Any] | None
    subscribe: Callable[..., Any] | None
    unsubscribe: Callable[..., Any] | None
    close: Callable[..., Any] | None
    working: Callable[..., bool] | None
    end: Callable[..., Any] | None
    request: Callable[..., Any] | None
    exchange: Callable[..., Any] | Application | None
    path_pattern: PathPattern | None
    limit: Callable[..., Any] | None
    shutdown: Callable[..., Any] | None
    timer: Callable[..., Any] | None
    spawn: Callable[..., Any] | None
    connected: Callable[..., Any] | None
    outcome: Callable[..., Any] | None
    step: Callable[..., Any] | None
    filter_received: Callable[..., Any] | None
    filter_sent: Callable[..., Any] | None
    receives: bool
    half_close: bool
    keeps_request: bool
    def __new__(
        cls,
        *,
        open: Callable[..., Any] | None = None,  # noqa: A002 - The hook for on_open.
        message: Callable[..., Any] | None = None,
        part: Callable[..., Any] | None = None,
        datagram: Callable[..., Any] | None = None,
        drain: Callable[..., Any] | None = None,
        subscribe: Callable[..., Any] | None = None,
        unsubscribe: Callable[..., Any] | None = None,
        close: Callable[..., Any] | None = None,
        working: Callable[..., bool] | None = None,
        end: Callable[..., Any] | None = None,
        request: Callable[..., Any] | None = None,
        exchange: Callable[..., Any] | Application | None = None,
        path_pattern: PathPattern | None = None,
        limit: Callable[..., Any] | None = None,
        shutdown: Callable[..., Any] | None = None,
        timer: Callable[..., Any] | None = None,
        spawn: Callable[..., Any] | None = None,
        connected: Callable[..., Any] | None = None,
        outcome: Callable[..., Any] | None = None,
        step: Callable[..., Any] | None = None,
        filter_received: Callable[..., Any] | None = None,
        filter_sent: Callable[..., Any] | None = None,
        receives: bool = False,
        half_close: bool = False,
        keeps_request: bool = False,
    ) -> Self: ...
    def copy(self) -> Hooks: ...

@final
class Site:
    """An endpoint of a server. Only the thread that made it may use it."""

    @property
    def connection_count(self) -> int: ...
    def set_url(self, url: str) -> None: ...
    def set_route(self, route: Callable[[str, str | None, bool], Site | None]) -> None: ...
    def begin_shutdown(self) -> None: ...
    def end_shutdown(self) -> None: ...
    def set_bounds(self, options: dict[str, Any]) -> None: ...
    def queues(self) -> tuple[int, int]: ...
    def connections_of_handler(self) -> list[Connection]: ...
    def close_unseen(self, keep_handshakes: bool) -> int: ...
    def abort_connections(self) -> None: ...
    def statistics(self) -> dict[str, Any]: ...

@disjoint_base
class LoopBase:
    """The native part of `vespiary.loop.Loop`."""

    def __new__(cls, *_arguments: object, **_options: object) -> Self: ...
    def call_soon(
        self,
        callback: Callable[[Unpack[_Arguments]], object],
        *args: *_Arguments,
        context: Context | None = None,
    ) -> asyncio.Handle: ...
    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[_Arguments]], object],
        *args: *_Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle: ...
    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[_Arguments]], object],
        *args: *_Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle: ...
    def create_future(self) -> asyncio.Future[Any]: ...
    def create_task(
        self, coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T], **options: Any
    ) -> asyncio.Task[_T]: ...
    def get_debug(self) -> bool: ...
    def time(self) -> float: ...
    def _begin(self, core: Core, has_clock: bool) -> None: ...
    def _debug_natively(self, is_debug: bool) -> None: ...
    def _close_natively(self) -> None: ...
    def _push(self, handle: asyncio.Handle) -> None: ...
    def _push_timer(self, when: float, handle: asyncio.Handle) -> None: ...
    def _count_cancelled(self, timer: asyncio.TimerHandle) -> None: ...
    def _read_natively(self, descriptor: int, transport: asyncio.Transport) -> None: ...
    def _unread(self, descriptor: int) -> bool: ...
    def _is_read(self, descriptor: int) -> bool: ...
    def _run_natively(self, until_stopped: bool) -> None: ...
    _stopping: bool

@final
class Stream:
    """The native part of a transport."""

    def __new__(cls, event_loop: LoopBase, descriptor: int) -> Self: ...
    def close(self) -> None: ...
    @property
    def pending_bytes(self) -> int: ...

def has_native_loop() -> bool: ...
def set_transport_class(class_: type[asyncio.Transport], /) -> None: ...

@final
class Tap:
    """What was seen on a connection since the last `take`."""

    def take(self) -> tuple[list[tuple[float, bool, int, bytes]], int, int]: ...
    def stop(self) -> None: ...

def tap_connection(connection: Connection, records_max: int, preview_bytes_max: int) -> Tap: ...

@final
class Listener:
    """A listening socket. Only the thread that made it may use it."""

    @property
    def address(self) -> str | tuple[str, int]: ...
    @property
    def is_closed(self) -> bool: ...
    @property
    def datagram_socket(self) -> DatagramSocket | None: ...
    def suspend(self) -> None: ...
    def resume(self) -> None: ...
    def close(self) -> None: ...
    def release(self) -> None: ...

def bind_datagrams(
    core: Core,
    address: str | tuple[str, int] | int,
    site: Site,
    *,
    groups: list[tuple[str, int]],
    reuse_port: bool,
    broadcast: bool,
    local_address: bool,
    packet_info: bool,
    receive_buffer_bytes: int | None,
) -> Listener: ...
def copy_counters(core: Core) -> None: ...
def share_connections(
    sites: list[Site],
    memory: Buffer,
    slots: tuple[int, int, int],
    words: tuple[int, int, int],
    serving: int,
) -> None: ...
def share_counters(core: Core, site: Site, memory: Buffer, first: int, names_max: int) -> None: ...
def cue_stop(
    connection: Connection, code: int, reason: str
) -> Literal["ended", "answering", "cue", "finishing", "sending", "closing"]: ...
def push(connection: Connection, message: object) -> bool: ...
def shutdown_begins(connection: Connection) -> None: ...
def close_as_told(connection: Connection) -> None: ...
def exchange_of(connection: Connection) -> Exchange: ...
def end_with_peer(connection: Connection, on: bool) -> None: ...
def origin_fault(pattern: str) -> str | None: ...
def upgrade_header_fault(name: str, value: str) -> str | None: ...
def upgrade_request_fault(
    host: str, target: str, subprotocols: list[str], headers: list[tuple[str, str]]
) -> str | None: ...
def make_authority() -> tuple[str, str]: ...
def make_certificate(authority_key: str, names: list[str], days: int) -> tuple[str, str]: ...

@final
class ServerTls:
    """The TLS of a server's endpoints, checked; its settings can be replaced."""

    def __new__(
        cls,
        pairs: list[tuple[bytes, bytes]],
        client_ca: bytes | None,
        clients_required: bool,
        alpn: list[bytes],
        tls12: bool,
    ) -> Self: ...
    def replace(
        self,
        pairs: list[tuple[bytes, bytes]],
        client_ca: bytes | None,
        clients_required: bool,
        alpn: list[bytes],
        tls12: bool,
    ) -> None: ...
    def rotate_tickets(self) -> None: ...

@final
class ClientTls:
    """The TLS of clients, checked."""

    def __new__(
        cls,
        ca: bytes | None,
        pair: tuple[bytes, bytes] | None,
        alpn: list[bytes],
        tls12: bool,
    ) -> Self: ...

@final
class LoadRun:
    """A load run in progress. It begins when it is made, and is stopped when it is dropped."""

    def __new__(
        cls,
        targets: list[tuple[str, list[tuple[str, str]]]],
        *,
        connections: int = 1,
        messages: int | None = None,
        duration: float | None = None,
        size: int = 32,
        pipeline: int = 1,
        rate: float | None = None,
        framing: str | None = None,
        text: bool = False,
        fragment: bool = False,
        fragment_delay: float | None = None,
        fragment_frames: int | None = None,
        seed: int | None = None,
        sources: int | None = None,
        driver: str | None = None,
        hold: float = 0.0,
        reply_timeout: float = 10.0,
        connect_timeout: float = 10.0,
        close_timeout: float = 2.0,
        connect_concurrency: int = 100,
        spin: float = 0.0,
        headers: list[tuple[str, str]] = ...,
        subprotocols: list[str] = ...,
        compress: bool = False,
        echo: bool = True,
        own: list[bytes] = ...,
        ramp_up: float = 0.0,
        steps: list[tuple[float, float]] = ...,
        method: str = "GET",
        ca: bytes | None = None,
        identity: tuple[bytes, bytes] | None = None,
        insecure: bool = False,
    ) -> Self: ...
    def step(self, max_wait: float) -> dict[str, Any]: ...
    def stop(self) -> None: ...
    def so_far(self) -> dict[str, Any] | None: ...
    def finish(self) -> dict[str, Any]: ...

def symbolize(path: str, address: int) -> list[tuple[str, str | None, int | None]]:
    """The functions at an address of an object file, innermost first.

    Args:
        path: A program or a shared library.
        address: As the file has it, without where it was loaded.

    Returns:
        For each function, the inlined ones too: its demangled name, its source file and line where
        the debugging information tells them.

    Raises:
        OSError: the file cannot be read, or is not an object file.
    """

def variable(path: str, address: int) -> tuple[str, int] | None:
    """The variable that lies at an address of an object file, by its symbol table.

    Args:
        path: A program or a shared library.
        address: As the file has it, without where it was loaded.

    Returns:
        Its demangled name, and how many bytes behind its beginning the address is; None where no
        symbol covers the address, as in a file without symbols.

    Raises:
        OSError: the file cannot be read, or is not an object file.
    """
