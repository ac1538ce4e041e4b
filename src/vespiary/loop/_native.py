"""The native paths of a loop, and asyncio's own where they end.

The queue of callbacks, the timers and the reading of sockets are native (`vespiary._core`). asyncio
keeps its code for all that is rare: debug mode, closed loops, descriptors that are not a
transport's. Without a GIL, and in a loop on another selector, everything is asyncio's.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

from vespiary._core import Core, LoopBase, has_native_loop
from vespiary.loop._asyncio import (
    Handle,
    SelectorEventLoop,
    SSLProtocol,
    TimerHandle,
    warn_of_slow_call,
)
from vespiary.loop._datagrams import DatagramTransport
from vespiary.loop._transport import SocketTransport

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable
    from contextvars import Context

    from vespiary.loop._selector import PortSelector

__all__ = ["NativeMethods", "checked_call_at"]


class NativeMethods(LoopBase, SelectorEventLoop):
    """What `vespiary.loop.Loop` has instead of asyncio's methods."""

    _is_native = False
    _runs_until_stopped = False
    """The next `_run_once` is that of `run_forever`, and need not return after an iteration."""
    _core: Core | None
    _selector: PortSelector

    def _begin_natively(self, core: Core) -> None:
        """Run on this engine."""
        if has_native_loop():
            has_clock = type(self).time is LoopBase.time
            self._begin(core, has_clock)
            self._is_native = True

    def set_debug(self, enabled: bool) -> None:
        """Switch asyncio's debug mode on or off."""
        super().set_debug(enabled)
        self._debug_natively(bool(enabled))

    def close(self) -> None:
        """Close the loop."""
        super().close()
        if self.is_closed():
            self._close_natively()

    def run_forever(self) -> None:
        """Run until `stop` is called."""
        # A subclass may have an iteration of its own.
        self._runs_until_stopped = type(self)._run_once is NativeMethods._run_once
        try:
            super().run_forever()
        finally:
            self._runs_until_stopped = False

    def _run_once(self) -> None:
        if self._is_native:
            until_stopped, self._runs_until_stopped = self._runs_until_stopped, False
            self._run_natively(until_stopped)
        else:
            super()._run_once()

    def _run_in_debug_mode(self, handle: Any) -> None:
        """Run a handle, and report when it takes long."""
        self._current_handle = handle
        try:
            start = self.time()
            handle._run()
            seconds = self.time() - start
            if seconds >= self.slow_callback_duration:
                warn_of_slow_call(handle, seconds)
        finally:
            self._current_handle = None

    def _descriptors_ready(self, ready: list[tuple[int, int]]) -> None:
        """Have the handles of descriptors called that are not a transport's."""
        self._process_events(self._selector.keys_of(ready))

    def _call_soon(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> Handle:
        if not self._is_native:
            return super()._call_soon(callback, args, context)
        handle = Handle(callback, args, self, context)
        if handle._source_traceback:
            del handle._source_traceback[-1]
        self._push(handle)
        return handle

    def _add_callback(self, handle: Any) -> None:
        if not self._is_native:
            super()._add_callback(handle)
        elif not handle._cancelled:
            self._push(handle)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if self._is_native:
            self._count_cancelled(handle)
        else:
            super()._timer_handle_cancelled(handle)

    def _remove_reader(self, fd: int) -> bool:
        # Programs pass objects that have a descriptor; transports pass numbers.
        if type(fd) is int and self._is_native and not self.is_closed():
            self._selector.enter()
            if self._unread(fd):
                return True
        return super()._remove_reader(fd)

    def _accept_connection(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
        sslcontext: ssl.SSLContext | None = None,
        server: Any = None,
        backlog: int = 100,
        *timeouts: Any,
    ) -> None:
        """Take the connections that wait: without TLS each needs no task."""
        by_asyncio = (protocol_factory, sock, sslcontext, server, backlog, *timeouts)
        if not self._is_native or sslcontext is not None or self.get_debug():
            super()._accept_connection(*by_asyncio)
            return
        for _ in range(backlog):
            try:
                accepted, address = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # asyncio meets the same error, and reports it.
                super()._accept_connection(*by_asyncio)
                return
            accepted.setblocking(False)
            context = contextvars.copy_context()
            context.run(self._serve_accepted, protocol_factory, accepted, address, server)

    def _serve_accepted(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        accepted: socket.socket,
        address: Any,
        server: Any,
    ) -> None:
        try:
            protocol = protocol_factory()
            SocketTransport(self, accepted, protocol, None, {"peername": address}, server)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            # asyncio reports it in debug mode only, which does not come here.
            accepted.close()

    def _make_socket_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        *,
        extra: dict[str, Any] | None = None,
        server: Any = None,
    ) -> asyncio.Transport:
        if self._is_native:
            return SocketTransport(self, sock, protocol, waiter, extra, server)
        return super()._make_socket_transport(sock, protocol, waiter, extra=extra, server=server)

    def _make_datagram_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.DatagramProtocol,
        address: Any = None,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> asyncio.DatagramTransport:
        return DatagramTransport(self, sock, protocol, address, waiter, extra)

    def _make_ssl_transport(
        self,
        rawsock: socket.socket,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext,
        waiter: asyncio.Future[None] | None = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: dict[str, Any] | None = None,
        server: Any = None,
        **options: Any,
    ) -> asyncio.Transport:
        if not self._is_native:
            return super()._make_ssl_transport(
                rawsock,
                protocol,
                sslcontext,
                waiter,
                server_side=server_side,
                server_hostname=server_hostname,
                extra=extra,
                server=server,
                **options,
            )
        secured = SSLProtocol(
            self, protocol, sslcontext, waiter, server_side, server_hostname, **options
        )
        SocketTransport(self, rawsock, secured, extra=extra, server=server)
        transport: asyncio.Transport = secured._app_transport
        return transport


def checked_call_at(
    loop: NativeMethods,
    when: float,
    callback: Callable[..., object],
    *args: Any,
    context: Context | None = None,
) -> asyncio.TimerHandle:
    """Set a timer as asyncio's `call_at` does: in debug mode, or with unusual arguments."""
    if when is None:
        raise TypeError("when cannot be None")
    loop._check_closed()
    if loop.get_debug():
        loop._check_thread()
        loop._check_callback(callback, "call_at")
    timer = TimerHandle(when, callback, args, loop, context)
    if timer._source_traceback:
        del timer._source_traceback[-1]
    loop._push_timer(when, timer)
    timer._scheduled = True
    return timer
