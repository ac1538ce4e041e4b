"""The gateway for datagrams: each client has a socket of its own towards its server."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import vespiary
from vespiary.wasp.gateway.upstreams import Upstream, Upstreams, UpstreamStatistics

__all__ = ["DatagramGateway"]

logger = logging.getLogger("vespiary")

_REPORT_SECONDS = 10.0


class DatagramGateway(vespiary.Handler[Any]):
    """Carries datagrams to servers, and their answers back.

    Args:
        upstreams: The servers. A client stays with one of them.
        idle_seconds: A client is forgotten after this time without a datagram.
        clients_max: The maximum number of clients at the same time: each needs a socket. The
            datagrams of others are dropped, counted and logged.
    """

    def __init__(self, upstreams: list[Upstream], idle_seconds: float, clients_max: int) -> None:
        self._upstreams = Upstreams(upstreams)
        self._idle_seconds = idle_seconds
        self._clients_max = clients_max
        self._clients: dict[object, _Client] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._reported: float | None = None

    def upstream_statistics(self) -> list[UpstreamStatistics]:
        """What each server has counted."""
        return self._upstreams.statistics()

    def on_datagram(self, datagram: vespiary.Datagram) -> None:
        """Carry a datagram on."""
        client = self._clients.get(datagram.peer)
        if client is not None:
            client.take(datagram)
            return
        if datagram.peer is None:
            return
        upstream = self._upstreams.choose()
        is_full = len(self._clients) >= self._clients_max
        if upstream is None or is_full:
            datagram.socket._not_carried(upstream is not None)
            if is_full:
                self._report_full()
            return
        client = self._clients[datagram.peer] = _Client(self, upstream, datagram)
        task = asyncio.ensure_future(client.open())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _report_full(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._reported is None or now - self._reported >= _REPORT_SECONDS:
            self._reported = now
            logger.warning(
                "Limit reached: clients_max (%d) of the gateway to %s; logged at most every %g s",
                self._clients_max,
                ", ".join(one.url for one in self.upstream_statistics()),
                _REPORT_SECONDS,
            )

    def on_stop(self, server: vespiary.Server) -> None:
        """Forget all clients."""
        for client in list(self._clients.values()):
            client.close()

    @property
    def idle_seconds(self) -> float:
        """After how much silence a client is forgotten."""
        return self._idle_seconds

    def forget(self, client: _Client) -> None:
        """A client has been silent, or its server cannot be reached."""
        self._clients.pop(client.peer, None)


_WAITING_MAX = 16
"""Datagrams of one client that wait while its socket is opened."""


class _Client(asyncio.DatagramProtocol):
    """One client, and its socket."""

    def __init__(
        self, gateway: DatagramGateway, upstream: Upstream, datagram: vespiary.Datagram
    ) -> None:
        self.peer = datagram.peer
        self._gateway = gateway
        self._upstream = upstream
        self._latest = datagram
        self._waiting = [datagram.data]
        self._transport: asyncio.DatagramTransport | None = None
        self._seen = asyncio.get_running_loop().time()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        upstream.active += 1
        upstream.requests += 1

    async def open(self) -> None:
        """Open the socket, and send what waits."""
        loop = asyncio.get_running_loop()
        endpoint = self._upstream.endpoint
        try:
            address = (endpoint.host, endpoint.port)
            transport, _ = await loop.create_datagram_endpoint(lambda: self, remote_addr=address)
        except OSError as error:
            self._upstream.failed(str(error))
            self.close()
            return
        if self._is_closed:
            transport.close()
            return
        self._transport = transport
        self._timer = loop.call_later(self._gateway.idle_seconds, self._look)
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            transport.sendto(data)

    def take(self, datagram: vespiary.Datagram) -> None:
        """Carry a datagram on."""
        self._latest = datagram
        self._seen = asyncio.get_running_loop().time()
        if self._transport is not None:
            self._transport.sendto(datagram.data)
        elif len(self._waiting) < _WAITING_MAX:
            self._waiting.append(datagram.data)

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Carry an answer back."""
        self._seen = asyncio.get_running_loop().time()
        self._upstream.succeeded()
        self._latest.reply(data)

    def error_received(self, exc: Exception) -> None:
        """The server cannot be reached (ICMP): another one is chosen for the next datagram."""
        self._upstream.failed(str(exc))
        self.close()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._seen + self._gateway.idle_seconds - loop.time()
        if left <= 0:
            self.close()
        else:
            self._timer = loop.call_later(left, self._look)

    def close(self) -> None:
        """Forget the client."""
        if self._is_closed:
            return
        self._is_closed = True
        self._upstream.active -= 1
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()
        self._gateway.forget(self)
