"""The native half. `Connection` and `Timer` are public; the rest is for `vespiary` alone.

A message is `str` when it came as WebSocket text, and `bytes` otherwise. A type checker learns
which of the two an endpoint gets from the type argument of `Handler` and `Connection`; without one,
messages are `Any`.
"""

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from contextvars import Context
from typing import Any, Generic, Literal, Self, final

from typing_extensions import Buffer, TypeVar

from vespiary.errors import CloseReason
from vespiary.filters import Filter
from vespiary.request import Headers, Request
from vespiary.routing import PathPattern
from vespiary.statistics import ConnectionStatistics
from vespiary.tls import ClientTLS, ServerTLS, TLSInfo

__all__ = [
    "ClientTls",
    "Connection",
    "Core",
    "Datagram",
    "DatagramSocket",
    "Hooks",
    "Listener",
    "LoadRun",
    "ServerTls",
    "Site",
    "Timer",
    "Topics",
    "__version__",
    "bind_datagrams",
    "close_as_told",
    "cue_stop",
    "end_with_peer",
    "keep_heap",
    "make_authority",
    "make_certificate",
    "origin_fault",
    "push",
    "symbolize",
    "upgrade_header_fault",
    "upgrade_request_fault",
    "variable",
]

__version__: str

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
    """A connection, as its handler sees it.

    Its methods may be called from any thread. In another than its loop's, those that return a
    value wait until the loop has answered, and those that are awaited raise RuntimeError: use
    `server.call_soon_threadsafe` for them.

    What `receive`, `ping`, `drain`, `close` and `wait_closed` return is a coroutine, for
    `asyncio.create_task` and `gather` too. `send` is a plain call that has queued the message
    when it returns; what it returns may be awaited, and is not a coroutine.

    A handler that is an async function iterates over it: `async for message in connection`. The
    iteration ends when the peer closes cleanly, and raises `ConnectionBroken` otherwise.
    """

    data: Any
    """Whatever the handler keeps for this connection; None at first."""
    @property
    def peer(self) -> tuple[str, int] | str | None:
        """The address of the peer, still there after the end; None where it has none.

        A pair of host and port, or the path of a Unix socket.
        """

    @property
    def local_address(self) -> tuple[str, int] | str | None:
        """The address at this end, still there after the end; None where it has none.

        A pair of host and port, or the path of a Unix socket.
        """

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent now."""

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait to be taken by the kernel."""

    @property
    def subprotocol(self) -> str | None:
        """The WebSocket subprotocol that the handshake chose, if any."""

    @property
    def version(self) -> Literal[13, 8] | None:
        """The version of WebSocket in use, 13 or 8 (an old peer); None elsewhere."""

    @property
    def extensions(self) -> list[str]:
        """The WebSocket extensions that the handshake agreed on, as its header has them."""

    @property
    def response_headers(self) -> Headers:
        """The header fields of the server's answer to this client's handshake.

        Empty at a server, and on streams.
        """

    @property
    def close_reason(self) -> CloseReason | None:
        """Why the connection ended; None while it has not."""

    @property
    def is_shutting_down(self) -> bool:
        """Whether the server is stopping, so that work under way should be finished."""

    @property
    def tls(self) -> TLSInfo | None:
        """What TLS has agreed on, after the end of the connection too; None without TLS."""

    @property
    def request(self) -> Request | None:
        """The request that opened the connection; None on streams and at clients.

        After `on_open` it is kept only where the handler uses it: see `Handler.keep_request`.
        """

    def send(self, message: str | Buffer, /, *, compress: bool | None = None) -> Awaitable[None]:
        """Queue a message; it leaves with everything else that the current batch sends.

        Text (str) goes out as a text message, anything with a buffer as a binary one; on a byte
        stream both are bytes, text as UTF-8. Never blocks on the loop's thread: await the result,
        or `drain()`, to wait for room. May be called from any thread; another than the loop's waits
        for room by itself, unless it runs a loop of its own.

        Args:
            message: The whole message.
            compress: True or False decides for this message, whatever its length, where the peer
                agreed on compression; None leaves it to the endpoint's `Compression`.

        Raises:
            ConnectionClosed: the connection is closing or has ended.
            WriteQueueFull: `write_bytes_max` would be exceeded, under the policy `wait`.
            ThreadCallsFull: the loop takes no calls of other threads (raised in those only).
            SendRefused: a message in parts is under way, or the framing cannot carry it: it is too
                long for the length prefix, or has a line break where messages are lines.
            TypeError: the message is neither text nor bytes, or compress is not a bool.
        """

    def send_part(
        self, data: str | Buffer, *, last: bool = False, compress: bool | None = None
    ) -> None:
        """Queue a part of a message that is sent as its bytes become known.

        Args:
            data: The next bytes of the message; text is sent as UTF-8.
            last: Whether the message ends with this part.
            compress: As for `send`; the first part decides for all of them.

        Raises:
            ConnectionClosed: the connection is closing or has ended.
            WriteQueueFull: `write_bytes_max` would be exceeded, under the policy `wait`.
            SendRefused: the framing has no parts to send, as with lines and length prefixes, or
                another task or callback is sending a message in parts.
            TypeError: the data is neither text nor bytes, or another argument is not what it must
                be.
        """

    def send_end(self) -> None:
        """Send nothing more on a stream; receiving goes on.

        What waits is written first, and then the peer sees the end of the stream. Once both ends
        have finished, the connection closes.

        Raises:
            ConnectionClosed: the connection is closing or has ended.
            SendRefused: a WebSocket ends in both directions at once: use `close()`.
        """

    def ping(self, payload: bytes = b"") -> _Outcome[float]:
        """Send a WebSocket ping; await it for the latency in seconds, or ignore what it returns.

        Args:
            payload: At most 125 bytes. An empty payload becomes one that no other ping has.

        Raises:
            ConnectionClosed: the connection is closing or has ended, or ends before the pong.
            SendRefused: too many pings have no pong yet.
            ValueError: the payload is too long, or the connection is not a WebSocket.
        """

    def close(self, code: int = 1000, reason: str = "") -> _Outcome[CloseReason]:
        """Begin to close the connection cleanly; what is queued is written first.

        Await what it returns for the reason of the end, or ignore it. A second call does nothing
        more.

        Args:
            code: The WebSocket close code (RFC 6455 section 7.4); streams have none.
            reason: A text for the peer, of at most 123 bytes in UTF-8.

        Raises:
            ValueError: no such code may be sent, or the reason is too long (RFC 6455 section 5.5).
        """

    def abort(self) -> None:
        """End the connection at once; what waits is dropped and the peer sees a reset."""

    def pause_reading(self) -> None:
        """Read nothing more from the peer until `resume_reading()`; TCP holds it back."""

    def resume_reading(self) -> None:
        """Read on after `pause_reading()`."""

    def subscribe(self, topic: str) -> bool:
        """Receive what the server publishes to a topic from now on.

        A message that the topic retains is sent at once. Returns False if the connection was
        already subscribed.

        Raises:
            ConnectionClosed: the connection is closing or has ended.
            SendRefused: it has `topics_per_connection_max` topics already, or the endpoint
                `subscriptions_max`; the topic is longer than `topic_bytes_max`; or the connection
                is a client's, for which nobody publishes.
        """

    def subscribe_pattern(self, pattern: str) -> bool:
        """Receive what the server publishes to any topic that a pattern matches.

        Levels of topics are separated by `/`. In a pattern `+` stands for one level, and `#`, as
        the last level, for any number of levels, including none (as in MQTT). The messages that the
        matching topics retain are sent at once. Returns False if the connection was already
        subscribed by this pattern.

        Raises:
            ConnectionClosed: the connection is closing or has ended.
            SendRefused: the text is not a pattern, or as for `subscribe`.
        """

    def unsubscribe(self, topic: str) -> bool:
        """No longer receive what is published to a topic; False when it was not subscribed."""

    def unsubscribe_pattern(self, pattern: str) -> bool:
        """No longer receive what a pattern matches; False when it was not subscribed by that."""

    def set_timer(self, seconds: float, callback: Callable[[Self], object]) -> Timer:
        """Call `callback(connection)` in `seconds`, unless the connection ends before.

        Raises:
            ConnectionClosed: the connection has ended.
            TypeError: `callback` is not a function, or an async one, which would never run.
            ValueError: `seconds` is not from 0 to 1e9.
        """

    def start_tls(self, tls: ServerTLS | ClientTLS | None = None) -> _Outcome[TLSInfo]:
        """Continue with TLS on a `tcp://` or `unix://` connection (STARTTLS).

        What was sent before goes out unencrypted, and what is sent after this call waits for the
        handshake. Await the result for what TLS has agreed on, as in `connection.tls`, or ignore
        it. Call this on a server when the client has asked for TLS, right behind the message that
        says so, and on a client when the server has agreed.

        Bytes that the peer has sent behind the message that is being handled, without waiting for
        the handshake, end the connection: they were not encrypted, and must not be taken as if they
        were (RFC 3207 section 6). With `framing="raw"`, check that yourself.

        Args:
            tls: A `ServerTLS` on a server; on a client a `ClientTLS`, or None for the authorities
                that this machine trusts.

        Raises:
            ConnectionClosed: the connection is closing or has ended, or ends before the end of the
                handshake, for example because that fails or takes longer than `handshake_seconds`.
            ConfigurationError: `tls` is not what it should be, or the connection is not a stream.
            SendRefused: the connection uses TLS already; or the endpoint has filters, or
                `executor="threads"`.
            RuntimeError: it is called in another thread than the loop's.
        """

    def drain(self) -> Coroutine[Any, Any, None]:
        """Wait until no more than `write_low_bytes` wait to be sent; with room, return at once.

        Raises:
            ConnectionClosed: the connection has ended.
        """

    def receive(self, timeout: float | None = None) -> Coroutine[Any, Any, _M_co]:
        """Wait for the next message: in a handler that is an async function, and in clients.

        Args:
            timeout: How long to wait at most, in seconds; None waits for as long as it takes.

        Raises:
            ConnectionClosed: the connection has ended, and every message before that was received.
            ReceiveConflict: another task waits already.
            TimeoutError: no message came in time; a later one is not lost.
        """

    def wait_closed(self) -> Coroutine[Any, Any, CloseReason]:
        """Wait until the connection has ended; the result says why it did.

        Raises:
            RuntimeError: it is called in another thread than the loop's.
        """

    def statistics(self) -> ConnectionStatistics:
        """Return what has happened on this connection so far."""

    def __await__(self) -> Generator[Any]: ...
    @property
    def _context(self) -> Context: ...
    def _call_soon(self, callback: Callable[..., object], *arguments: object) -> None: ...
    def _send_soon(self, message: str | bytes) -> None: ...
    @classmethod
    def __class_getitem__(cls, messages: Any) -> types.GenericAlias: ...
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Awaitable[_M_co]: ...
    def _answer(self, answer: object) -> None: ...
    def _keep(self) -> None: ...
    def _hold_reading(self, is_held: bool) -> None: ...
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
        """Send a datagram; it leaves with everything else that the current batch sends.

        May be called from any thread. Nothing says whether a datagram arrives; one that the kernel
        refuses is counted in `datagrams_dropped`.

        Args:
            data: Its bytes; text is sent as UTF-8. They may be empty.
            peer: An IP address and a port, as `Datagram.peer` has them, or the path of a Unix
                socket.

        Returns:
            False where it was dropped, because `write_bytes_max` wait to be sent already.

        Raises:
            RuntimeError: the socket is closed.
            ThreadCallsFull: the loop takes no calls of other threads (raised in those only).
            TypeError: the data is neither text nor bytes.
            ValueError: the peer is not an address, or of another family than the socket.
        """

    def _refuse(self) -> None: ...
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
    """A timer that was set; it can be cancelled until it fires."""

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
    def set_timer(self, seconds: float, callback: Callable[[], object]) -> Timer: ...
    def port_statistics(self) -> dict[str, Any]: ...
    def close(self) -> None: ...

def keep_heap() -> None: ...

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
    def connections_of_handler(self) -> list[Connection]: ...
    def close_handshakes(self) -> None: ...
    def abort_connections(self) -> None: ...
    def statistics(self) -> dict[str, Any]: ...

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
def cue_stop(
    connection: Connection, code: int, reason: str
) -> Literal["ended", "answering", "cue", "finishing", "sending", "closing"]: ...
def push(connection: Connection, message: object) -> bool: ...
def close_as_told(connection: Connection) -> None: ...
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
    """A load run under way. It begins when it is made, and is stopped when it is dropped."""

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
