"""The transport of datagrams: asyncio's own, which receives in another way.

asyncio receives one datagram for each look at the sockets, and allocates 256 KiB for it, which the
C library maps and unmaps each time. A datagram of UDP has at most 64 KiB, and here several are
received in a row.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from vespiary.loop._asyncio import SelectorDatagramTransport

__all__ = ["DatagramTransport"]

_DATAGRAMS_MAX = 32
"""Of one socket in a row. Then the others have their turn."""
_DATAGRAM_BYTES_MAX = 65536
"""Of UDP. Datagrams of Unix sockets may be longer."""


class DatagramTransport(SelectorDatagramTransport):
    """A transport that receives datagrams in batches."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        protocol: asyncio.DatagramProtocol,
        address: Any = None,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            self.max_size = _DATAGRAM_BYTES_MAX
        super().__init__(loop, sock, protocol, address, waiter, extra)

    def _read_ready(self) -> None:
        for _ in range(_DATAGRAMS_MAX):
            if self._conn_lost or not self.is_reading() or self._sock is None:
                return
            try:
                data, address = self._sock.recvfrom(self.max_size)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._protocol.error_received(error)
                return
            self._protocol.datagram_received(data, address)
