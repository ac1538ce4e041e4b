"""The processes of several machines, connected by a broker of NATS.

Each process has a connection of its own, with which it publishes and subscribes. Processes of one
server (its workers) share the name of a node, and reach each other without the broker: what comes
from the own node is ignored.

::

    vespiary.NAME.all           what is published, the state of processes, and every second what
                                each process has
    vespiary.NAME.to.PROCESS    for one process: `send_to`, and what it has asked for

The client library reconnects by itself too, but then keeps messages that nobody counts. So one of
its clients is used per connection. While the broker is away, published messages stay in the history
(see `sequence`), and all processes ask for what they have missed when it is back. Messages of
`send_to` are not repeated: they wait until the other process is there again, and one that is on its
way when the broker ends is lost. The state (see `vespiary.workers._state`) is not kept for later:
processes compare it when they are connected again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from vespiary.wasp.cluster.packets import (
    Announcement,
    Content,
    Direct,
    Leaving,
    Packet,
    Request,
    State,
    as_bytes,
    as_sent,
    decoded,
    encoded,
)
from vespiary.wasp.cluster.queue import Queue
from vespiary.wasp.cluster.sequence import History, Incoming
from vespiary.wasp.cluster.settings import ClusterSettings
from vespiary.workers._backplane import Addressed, Carried, Published, Stated

if TYPE_CHECKING:
    from nats.aio.client import Client

__all__ = ["NatsCluster"]

logger = logging.getLogger("vespiary.wasp")

_ANNOUNCE_SECONDS = 1.0
_LOST_SECONDS = 4.0
"""A process that has announced nothing for this time is reported as lost."""
_FORGET_SECONDS = 120.0
"""Until then, one that was lost gets and sends what it has missed when it is back."""
_CONNECT_SECONDS = 2
_PING_SECONDS = 1
_PINGS_MAX = 2
"""A broker that hangs is noticed after about three seconds."""
_SEND_SECONDS = 5.0
_WAITS = (0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts to connect; the last one stays."""
_PAYLOAD_BYTES = 1 << 20
"""The limit of a broker as it is installed, until the broker says its own."""
_PROCESSES_MAX = 10_000
_NODE_CHARACTERS = 12


class _Peer:
    """Another process, as it was heard of last."""

    def __init__(self, expected: int, now: float) -> None:
        self.incoming = Incoming(expected)
        self.title = "a process"
        self.heard = now
        self.is_lost = False
        self.is_known = False
        # Whether it was heard of since this process has connected: if so, it gets what is sent.
        self.is_there = True
        self.direct: deque[bytes] = deque()


class NatsCluster:
    """Carries messages to and from the processes of other nodes.

    Args:
        settings: Where the broker is.

    Attributes:
        node: The name of the node, which all processes of one server share.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self.node = secrets.token_hex(_NODE_CHARACTERS // 2)
        self._settings = settings
        self._prefix = f"vespiary.{settings.name}"
        self._reset()

    def _reset(self) -> None:
        self.process = self.node + secrets.token_hex(_NODE_CHARACTERS // 2)
        self._history = History(self._settings.queue_bytes_max)
        self._sent = 0
        self._direct_bytes = 0
        self._states = Queue()
        self._peers: dict[str, _Peer] = {}
        self._client: Client | None = None
        self._payload_max = _PAYLOAD_BYTES
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._deliver: Callable[[Carried], object] | None = None
        self._is_dropping = self._is_closing = self._is_strange_reported = False
        self._counts = dict.fromkeys(
            ("sent", "received", "dropped", "lost", "repeated", "replayed", "reconnects"), 0
        )

    def begin_run(self) -> str:
        """Be a process of its own, after a fork, and return its name."""
        self._reset()
        return self.process

    def start(self, deliver: Callable[[Carried], object]) -> None:
        """Connect, and call `deliver` for each message that comes from another node."""
        self._deliver = deliver
        self._task = asyncio.get_running_loop().create_task(self._run(), name="cluster")

    async def close(self) -> None:
        """Send what waits, say that this process ends, and disconnect."""
        task, self._task = self._task, None
        if task is None:
            return
        self._is_closing = True
        self._wake.set()
        if self._client is None:
            task.cancel()
        _, late = await asyncio.wait([task], timeout=_SEND_SECONDS)
        for one in late:
            one.cancel()
        await asyncio.wait([task])

    def publish(self, published: Published) -> None:
        """Send a message to all other nodes, now or when the broker is back."""
        topic, message, compress, retain, stamp = published
        number = self._history.last + 1
        sent, is_text = (None, False) if message is None else as_bytes(message)
        content = Content(self.process, number, topic, sent, compress, retain, is_text, stamp)
        data = encoded(content)
        if self._is_too_large(data):
            return
        self._history.add(data)
        evicted = self._history.first - 1 - self._sent
        if evicted > 0:
            self._sent += evicted
            self._drop_beyond_queue(evicted)
        self._wake.set()

    @property
    def is_connected(self) -> bool:
        """Whether the broker is there."""
        return self._client is not None

    def state(self, stated: Stated) -> None:
        """Send a part of the state of this process, if the broker is there and takes it."""
        data = encoded(State(self.process, stated.message))
        most = max(self._settings.queue_bytes_max, self._payload_max)
        if self._client is not None and not self._is_too_large(data):
            self._states.put(f"to.{stated.process}" if stated.process else "all", data, most)
            self._wake.set()

    def send(self, process: str, addressed: Addressed) -> bool:
        """Send a message to a connection of another process; False if there is no such process."""
        peer = self._peers.get(process)
        if peer is None or peer.is_lost:
            return False
        connection_id, message, compress = addressed
        sent, is_text = as_bytes(message)
        data = encoded(Direct(self.process, connection_id, sent, compress, is_text))
        if self._is_too_large(data):
            return True
        if self._direct_bytes and self._direct_bytes + len(data) > self._settings.queue_bytes_max:
            self._drop_beyond_queue(1)
        else:
            peer.direct.append(data)
            self._direct_bytes += len(data)
            self._wake.set()
        return True

    def _is_too_large(self, data: bytes) -> bool:
        """Whether the broker does not take a message of this size: it is dropped then."""
        if len(data) <= self._payload_max:
            return False
        self._drop(f"it has {len(data)} bytes, and max_payload of the broker is smaller")
        return True

    def _drop_beyond_queue(self, count: int) -> None:
        most = self._settings.queue_bytes_max
        self._drop(f"the broker does not take them: queue_bytes_max is {most}", count)

    def _drop(self, why: str, count: int = 1) -> None:
        self._counts["dropped"] += count
        if not self._is_dropping:
            self._is_dropping = True
            logger.warning("Dropping published messages for other nodes: %s", why)

    def measures(self) -> dict[str, int]:
        """Counters and states, for metrics."""
        alive = {name[:_NODE_CHARACTERS] for name, one in self._peers.items() if not one.is_lost}
        direct = sum(len(peer.direct) for peer in self._peers.values())
        waiting = self._history.last - self._sent + direct
        lost = sum(peer.incoming.lost for peer in self._peers.values())
        repeated = sum(peer.incoming.repeated for peer in self._peers.values())
        counts = self._counts | {
            "lost": self._counts["lost"] + lost,
            "repeated": self._counts["repeated"] + repeated,
        }
        return {
            "cluster_connected": int(self._client is not None),
            "cluster_nodes": len(alive),
            "cluster_messages_waiting": waiting,
            **{f"cluster_messages_{name}": counts[name] for name in _COUNTED},
            "cluster_reconnects": counts["reconnects"],
        }

    def facts(self) -> dict[str, Any]:
        """For `vespiary status`."""
        peers = [
            {"process": one.title, "state": "lost" if one.is_lost else "serving"}
            for one in self._peers.values()
        ]
        return {"broker": self._settings.shown, "node": self.node, "others": peers} | {
            name.removeprefix("cluster_"): value for name, value in self.measures().items()
        }

    async def _run(self) -> None:
        waits = iter(_WAITS)
        is_reported = has_connected = False
        while not self._is_closing:
            try:
                client = await self._connected()
            except Exception as error:
                if not is_reported:
                    is_reported = True
                    self._report_away(error)
                await asyncio.sleep(next(waits, _WAITS[-1]))
                continue
            logger.info("Connected with the broker %s as %s", self._settings.shown, self._title())
            self._counts["reconnects"] += has_connected
            has_connected, is_reported, waits = True, False, iter(_WAITS)
            try:
                await self._serve(client)
            except Exception as error:
                is_reported = True
                self._report_away(error)
            finally:
                self._client = None
                self._states = Queue()
                await _end(client)

    def _report_away(self, error: Exception) -> None:
        logger.error(
            "The broker %s is away, and messages for other nodes wait, up to %d bytes: %s",
            self._settings.shown,
            self._settings.queue_bytes_max,
            str(error) or type(error).__name__,
        )

    def _title(self) -> str:
        return f"process {os.getpid()} of {socket.gethostname()}"

    async def _connected(self) -> Client:
        from nats.aio.client import Client

        client = Client()

        async def ignore(error: Exception) -> None:
            logger.debug("NATS: %s", error)

        try:
            async with asyncio.timeout(2 * _CONNECT_SECONDS):
                await client.connect(
                    list(self._settings.urls),
                    error_cb=ignore,
                    closed_cb=self._closed,
                    name=f"vespiary {self._title()}",
                    allow_reconnect=False,
                    connect_timeout=_CONNECT_SECONDS,
                    ping_interval=_PING_SECONDS,
                    max_outstanding_pings=_PINGS_MAX,
                    no_echo=True,
                    **self._settings.options,
                )
                await client.subscribe(f"{self._prefix}.all", cb=self._receive)
                await client.subscribe(f"{self._prefix}.to.{self.process}", cb=self._receive)
                await client.flush(_CONNECT_SECONDS)
        except BaseException:
            await _end(client)
            raise
        return client

    async def _closed(self) -> None:
        self._wake.set()

    async def _serve(self, client: Client) -> None:
        """Send what is to be sent until the connection ends."""
        self._client = client
        self._payload_max = client.max_payload
        now = time.monotonic()
        for peer in self._peers.values():
            # What was said while this process did not listen is not known.
            peer.heard = now
            peer.is_there = False
        announce_at = now
        while True:
            self._wake.clear()
            if client.is_closed:
                raise client.last_error or ConnectionError("the connection has ended")
            now = time.monotonic()
            if now >= announce_at:
                announce_at = now + _ANNOUNCE_SECONDS
                await self._announce(client)
            await self._send_waiting(client)
            await self._look_at_peers(client, now)
            if self._is_closing:
                await self._send(client, "all", encoded(Leaving(self.process)))
                await client.flush(_CONNECT_SECONDS)
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(_ANNOUNCE_SECONDS, announce_at - now) / 2):
                    await self._wake.wait()

    async def _send(self, client: Client, to: str, data: bytes) -> None:
        async with asyncio.timeout(_SEND_SECONDS):
            await client.publish(f"{self._prefix}.{to}", data)

    async def _announce(self, client: Client) -> None:
        history = self._history
        # What was not sent yet is not missing anywhere.
        first, last = min(history.first, self._sent + 1), self._sent
        own = Announcement(self.process, socket.gethostname(), os.getpid(), first, last)
        await self._send(client, "all", encoded(own))

    async def _send_waiting(self, client: Client) -> None:
        while self._sent < self._history.last:
            for number, data in self._history.between(self._sent + 1, self._history.last):
                if number != self._sent + 1:
                    # It was dropped while this one waited for the broker.
                    continue
                await self._send(client, "all", data)
                self._sent = max(self._sent, number)
                self._counts["sent"] += 1
        for name, peer in list(self._peers.items()):
            # The broker drops what is for a process that has not connected again yet.
            while peer.direct and peer.is_there:
                data = peer.direct.popleft()
                self._direct_bytes -= len(data)
                await self._send(client, f"to.{name}", data)
                self._counts["sent"] += 1
        while (state := self._states.take()) is not None:
            await self._send(client, *state)
        self._is_dropping = False

    async def _look_at_peers(self, client: Client, now: float) -> None:
        for name, peer in list(self._peers.items()):
            wanted = peer.incoming.wanted(now)
            if wanted is not None:
                await self._send(client, f"to.{name}", encoded(Request(self.process, *wanted)))
            self._take(peer.incoming.overdue())
            if now > peer.heard + _FORGET_SECONDS:
                self._forget(name)
            elif now > peer.heard + _LOST_SECONDS and not peer.is_lost:
                peer.is_lost = True
                self._drop_direct(peer)
                logger.warning(
                    "Lost %s: it has not been heard of for %g s", peer.title, _LOST_SECONDS
                )

    def _drop_direct(self, peer: _Peer) -> None:
        if peer.direct:
            self._direct_bytes -= sum(map(len, peer.direct))
            self._drop(f"{peer.title} is away", len(peer.direct))
            peer.direct.clear()

    def _forget(self, name: str) -> None:
        peer = self._peers.pop(name)
        self._drop_direct(peer)
        self._counts["lost"] += peer.incoming.lost
        self._counts["repeated"] += peer.incoming.repeated

    async def _receive(self, packet: Any) -> None:
        try:
            message = decoded(packet.data)
        except msgspec.MsgspecError as error:
            # Such a program sends many: the log has the first one.
            level = logging.DEBUG if self._is_strange_reported else logging.WARNING
            self._is_strange_reported = True
            logger.log(level, "A packet of another program came from the broker: %s", error)
            return
        if message.sender.startswith(self.node):
            return
        try:
            await self._heed(message, packet.data)
        except Exception:
            logger.exception("A packet from the broker was not understood")

    async def _heed(self, message: Packet, data: bytes) -> None:
        if isinstance(message, Direct):
            self._counts["received"] += 1
            content = as_sent(message.message, message.is_text)
            self._hand_over(Addressed(message.connection_id, content, message.compress))
            return
        if isinstance(message, State):
            self._hand_over(Stated("", message.message))
            return
        if isinstance(message, Request):
            await self._replay(message)
            return
        if isinstance(message, Leaving):
            if message.sender in self._peers:
                logger.info("%s has left", self._peers[message.sender].title.capitalize())
                self._forget(message.sender)
            return
        peer = self._peer(message)
        if peer is None:
            return
        if isinstance(message, Announcement):
            self._name(peer, message)
            self._take(peer.incoming.announce(message.first, message.last))
        else:
            self._take(peer.incoming.receive(message.number, data))
        if peer.incoming.is_behind:
            self._wake.set()

    def _peer(self, message: Content | Announcement) -> _Peer | None:
        now = time.monotonic()
        peer = self._peers.get(message.sender)
        if peer is None:
            if len(self._peers) >= _PROCESSES_MAX:
                return None
            first = message.number if isinstance(message, Content) else message.last + 1
            peer = self._peers[message.sender] = _Peer(first, now)
        peer.heard = now
        if not peer.is_there:
            peer.is_there = True
            self._wake.set()
        if peer.is_lost:
            peer.is_lost = False
            logger.info("%s is back", peer.title.capitalize())
        return peer

    def _name(self, peer: _Peer, message: Announcement) -> None:
        if not peer.is_known:
            peer.is_known = True
            peer.title = f"process {message.process} of {message.host}"
            logger.info("%s has joined", peer.title.capitalize())

    async def _replay(self, message: Request) -> None:
        client = self._client
        if client is None:
            return
        for _, data in self._history.between(message.first, min(message.last, self._sent)):
            await self._send(client, f"to.{message.sender}", data)
            self._counts["replayed"] += 1
        await self._announce(client)

    def _take(self, found: list[bytes]) -> None:
        for data in found:
            content = decoded(data)
            assert isinstance(content, Content)
            self._counts["received"] += 1
            message = content.message
            text = None if message is None else as_sent(message, content.is_text)
            self._hand_over(
                Published(content.topic, text, content.compress, content.retain, content.stamp)
            )

    def _hand_over(self, carried: Carried) -> None:
        if self._deliver is not None:
            self._deliver(carried)


async def _end(client: Client) -> None:
    """Close a client. After a TLS handshake that has failed, it would not return."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_CONNECT_SECONDS):
            await client.close()


_COUNTED = ("sent", "received", "dropped", "lost", "repeated", "replayed")
