import asyncio
import selectors
import socket
import ssl
from collections.abc import Callable
from contextvars import Context
from typing import Any

__all__ = [
    "Handle",
    "SSLProtocol",
    "SelectorDatagramTransport",
    "SelectorEventLoop",
    "SelectorSocketTransport",
    "TimerHandle",
    "format_callback_source",
    "warn_of_slow_call",
]

class Handle(asyncio.Handle):
    _callback: Any
    _args: Any
    _cancelled: bool
    _loop: asyncio.AbstractEventLoop
    _source_traceback: list[Any] | None

class TimerHandle(asyncio.TimerHandle):
    _scheduled: bool
    _source_traceback: list[Any] | None

class SelectorEventLoop(asyncio.SelectorEventLoop):
    _current_handle: object
    def _run_once(self) -> None: ...
    def _process_events(self, events: list[tuple[selectors.SelectorKey, int]]) -> None: ...
    def _call_soon(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> Handle: ...
    def _add_callback(self, handle: asyncio.Handle) -> None: ...
    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None: ...
    def _remove_reader(self, fd: int) -> bool: ...
    def _add_writer(self, fd: int, callback: Callable[..., object]) -> asyncio.Handle: ...
    def _check_closed(self) -> None: ...
    def _check_thread(self) -> None: ...
    def _check_callback(self, callback: object, method: str) -> None: ...
    def _accept_connection(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
        sslcontext: ssl.SSLContext | None = None,
        server: Any = None,
        backlog: int = 100,
        *timeouts: Any,
    ) -> None: ...
    def _make_socket_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[Any] | None = None,
        *,
        extra: dict[str, Any] | None = None,
        server: Any = None,
    ) -> asyncio.Transport: ...
    def _make_ssl_transport(
        self,
        rawsock: socket.socket,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext,
        waiter: asyncio.Future[Any] | None = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: dict[str, Any] | None = None,
        server: Any = None,
        **options: Any,
    ) -> asyncio.Transport: ...

class SelectorSocketTransport(asyncio.Transport):
    _loop: Any
    _sock: socket.socket | None
    _sock_fd: int
    _protocol: asyncio.BaseProtocol
    _buffer: Any
    _closing: bool
    _paused: bool
    _conn_lost: int
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[Any] | None = None,
        extra: dict[str, Any] | None = None,
        server: Any = None,
    ) -> None: ...
    def _force_close(self, exc: BaseException | None) -> None: ...
    def _make_empty_waiter(self) -> asyncio.Future[None]: ...
    def _maybe_pause_protocol(self) -> None: ...
    def _maybe_resume_protocol(self) -> None: ...
    def _call_connection_lost(self, exc: BaseException | None) -> None: ...
    def _write_ready(self) -> None: ...
    def _send_pending(self) -> None: ...

class SelectorDatagramTransport(asyncio.DatagramTransport):
    max_size: int
    _sock: socket.socket | None
    _protocol: asyncio.DatagramProtocol
    _conn_lost: int
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        protocol: asyncio.DatagramProtocol,
        address: Any = None,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None: ...
    def is_reading(self) -> bool: ...

class SSLProtocol:
    _app_transport: asyncio.Transport
    def __new__(
        cls,
        loop: asyncio.AbstractEventLoop,
        app_protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext,
        waiter: asyncio.Future[Any] | None,
        server_side: bool = False,
        server_hostname: str | None = None,
        **options: Any,
    ) -> Any: ...

def format_callback_source(
    func: object, args: tuple[Any, ...] | None, *, debug: bool = False
) -> str: ...
def warn_of_slow_call(handle: asyncio.Handle, seconds: float) -> None: ...
