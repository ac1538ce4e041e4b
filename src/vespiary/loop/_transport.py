"""The transport of stream sockets: asyncio's own, whose hot paths are native.

`write`, `pause_reading` and `resume_reading` are native methods, and the native loop reads the
socket. They use the fields below, which are slots, so that both find them. Everything else is
asyncio's code: what the socket does not take at once, errors, the end of the connection.

What a callback writes is sent when it returns, at the latest. Before anything else happens with the
transport that could depend on it, it is sent at once (`_send_pending`).
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vespiary._core import Stream, set_transport_class
from vespiary.loop._asyncio import SelectorSocketTransport

if TYPE_CHECKING:
    import socket

    from vespiary.loop._native import NativeMethods

__all__ = [
    "SocketTransport",
    "asyncios_pause_reading",
    "asyncios_resume_reading",
    "asyncios_write",
    "pause_full_reader",
]

asyncios_write = SelectorSocketTransport.write
asyncios_pause_reading = SelectorSocketTransport.pause_reading
asyncios_resume_reading = SelectorSocketTransport.resume_reading


class SocketTransport(SelectorSocketTransport):
    """A transport of a native loop."""

    __slots__ = (
        "_buffer",
        "_closing",
        "_conn_lost",
        "_empty_waiter",
        "_eof",
        "_feeds_reader",
        "_is_buffered",
        "_paused",
        "_protocol",
        "_read_context",
        "_stream",
    )

    def __init__(
        self,
        loop: NativeMethods,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
        server: Any = None,
    ) -> None:
        self._read_context: contextvars.Context | None = None
        self._stream = Stream(loop, sock.fileno())
        super().__init__(loop, sock, protocol, waiter, extra, server)

    def __repr__(self) -> str:
        text = super().__repr__()
        if self._loop is not None and not self._paused and self._loop._is_read(self._sock_fd):
            text = text.replace("read=idle", "read=polling")
        return text

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Pass what is received to another protocol from now on."""
        super().set_protocol(protocol)
        self._is_buffered = isinstance(protocol, asyncio.BufferedProtocol)
        # A subclass may want to see what is received.
        self._feeds_reader = type(protocol) is asyncio.StreamReaderProtocol

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send several pieces, in their order."""
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        """How many bytes the socket has not taken yet."""
        self._send_pending()
        return super().get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known of the connection."""
        self._send_pending()
        return super().get_extra_info(name, default)

    def write_eof(self) -> None:
        """Finish sending."""
        self._send_pending()
        super().write_eof()

    def close(self) -> None:
        """Close the transport when all is sent."""
        self._send_pending()
        super().close()

    def _force_close(self, exc: BaseException | None) -> None:
        self._send_pending()
        # The loop is gone where the connection was lost already.
        if self._loop is not None:
            super()._force_close(exc)

    def _maybe_resume_protocol(self) -> None:
        super()._maybe_resume_protocol()
        # asyncio's code looks next whether all is sent.
        self._send_pending()

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        self._stream.close()
        super()._call_connection_lost(exc)

    def _make_empty_waiter(self) -> asyncio.Future[None]:
        self._send_pending()
        if self._paused:
            # Others may watch the socket now.
            self._loop._remove_reader(self._sock_fd)
        return super()._make_empty_waiter()

    def _add_reader(self, fd: int, _callback: Any, *_arguments: Any) -> None:
        if self.is_reading():
            if self._read_context is None:
                self._read_context = contextvars.copy_context()
            self._loop._selector.enter()
            self._loop._read_natively(fd, self)

    def _buffer_unsent(self, pieces: list[bytes]) -> None:
        """Keep what the socket did not take, for asyncio to send when it takes more."""
        if self._conn_lost:
            return
        if not self._buffer:
            self._loop._add_writer(self._sock_fd, self._write_ready)
        if isinstance(self._buffer, bytearray):
            self._buffer += b"".join(pieces)
        else:
            self._buffer.extend(pieces)
        self._maybe_pause_protocol()


def pause_full_reader(reader: Any) -> None:
    """Stop reading until a stream's reader was emptied, as its `feed_data` does."""
    if reader._transport is None or reader._paused:
        return
    try:
        reader._transport.pause_reading()
    except NotImplementedError:
        # It cannot be paused, so the reader takes all.
        reader._transport = None
    else:
        reader._paused = True


set_transport_class(SocketTransport)
