"""How published messages reach the connections of other worker processes.

`Backplane` is what a server needs for that, and `LocalBackplane` the implementation for the workers
of one machine. Each process has an inbox: a pair of sockets of the kind SOCK_SEQPACKET, made before
the first fork, whose sending end all the others have too. A message is encoded once, as one packet,
and the same bytes are sent to each of them: the kernel keeps packets whole, and in order for each
sender. A large message is put in a file in memory, and the packet has its descriptor, so that it is
copied once and not for each process.

Sockets, and not a ring in shared memory: the loops of the receivers have to be woken anyway, a
process that is killed in the middle of a write leaves nothing half written, and nobody else has to
run for a message to arrive. The kernel's queue is short; what does not fit waits in the sender, up
to a limit. A worker that hangs thus costs each sender that much memory, and delays no other.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from vespiary.workers._board import State, Word

if TYPE_CHECKING:
    from vespiary.workers._board import Board

__all__ = ["Backplane", "Inboxes", "LocalBackplane", "Published"]

logger = logging.getLogger("vespiary")

_HEAD = struct.Struct("=BBBHQ")
"""What the message is, how to compress it, whether it is retained, the bytes of the topic, and the
bytes of the message."""
_BYTES, _TEXT, _NOTHING = range(3)
_COMPRESS = (None, False, True)
_PACKET_BYTES_MAX = 32 << 10
"""A longer message goes through a file: several packets of this size fit in the kernel's queue."""
_TOPIC_BYTES_MAX = 0xFFFF
_PACKETS_A_TURN_MAX = 64
"""So many are delivered before the loop does something else."""
_QUEUE_BYTES = 1 << 20
"""What is asked of the kernel for its queue; `net.core.wmem_max` may allow less."""


class Published(NamedTuple):
    """A message that was published.

    Attributes:
        topic: The topic.
        message: Text or bytes; None where the topic is to retain no message any more.
        compress: As for `Connection.send`.
        retain: Whether the topic retains it.
    """

    topic: str
    message: str | bytes | None
    compress: bool | None = None
    retain: bool = False


class Backplane(Protocol):
    """Carries published messages to other processes that run the same server.

    All methods are called on the loop's thread.
    """

    def start(self, deliver: Callable[[Published], object]) -> None:
        """Call `deliver` for each message that another process publishes, until `stop`."""

    def publish(self, published: Published) -> None:
        """Send a message to the other processes. It must not wait: it drops what it cannot keep."""

    def stop(self) -> None:
        """Deliver nothing any more."""


class Inboxes:
    """The inbox of each slot, made by the supervisor."""

    def __init__(self, count: int) -> None:
        self.receiving: list[socket.socket] = []
        self.sending: list[socket.socket] = []
        for _ in range(count):
            receiving, sending = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            receiving.setblocking(False)
            sending.setblocking(False)
            sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _QUEUE_BYTES)
            self.receiving.append(receiving)
            self.sending.append(sending)

    def close(self) -> None:
        """Close all of them."""
        for one in self.receiving + self.sending:
            one.close()


class _Packet:
    """A message as it is sent, the same to each process."""

    def __init__(self, published: Published) -> None:
        topic = published.topic.encode()
        message = published.message
        kind = _NOTHING if message is None else _TEXT if isinstance(message, str) else _BYTES
        content = message.encode() if isinstance(message, str) else message or b""
        compress = _COMPRESS.index(published.compress)
        self.file: int | None = None
        head = _HEAD.pack(kind, compress, published.retain, len(topic), len(content))
        self.bytes = head + topic
        self.cost = len(self.bytes) + len(content)
        if len(content) <= _PACKET_BYTES_MAX:
            self.bytes += content
        else:
            self.file = os.memfd_create("vespiary-message")
            _write_all(self.file, content)

    def __del__(self) -> None:
        if self.file is not None:
            os.close(self.file)


def _write_all(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def _published(packet: bytes, files: list[int]) -> Published:
    kind, compress, retain, topic_bytes, length = _HEAD.unpack_from(packet)
    topic_end = _HEAD.size + topic_bytes
    content = os.pread(files[0], length, 0) if files else packet[topic_end:]
    topic = packet[_HEAD.size : topic_end].decode()
    messages = {_BYTES: content, _NOTHING: None}
    message = content.decode() if kind == _TEXT else messages[kind]
    return Published(topic, message, _COMPRESS[compress], bool(retain))


class LocalBackplane:
    """Connects the workers of one machine.

    Args:
        inboxes: Those of all slots.
        board: What the other processes do, and where messages are counted.
        index: The slot of this process.
        bytes_max: How many bytes may wait for one other process.
    """

    def __init__(self, inboxes: Inboxes, board: Board, index: int, bytes_max: int) -> None:
        self._inboxes = inboxes
        self._board = board
        self._index = index
        self._slot = board.slots[index]
        self._bytes_max = bytes_max
        self._queues = {slot.index: _Queue() for slot in board.slots if slot.index != index}
        self._deliver: Callable[[Published], object] | None = None
        # What was sent to an earlier process of this slot.
        while self._receive() is not None:
            pass

    def start(self, deliver: Callable[[Published], object]) -> None:
        """See `Backplane`."""
        self._deliver = deliver
        inbox = self._inboxes.receiving[self._index]
        asyncio.get_running_loop().add_reader(inbox, self._deliver_some)

    def stop(self) -> None:
        """See `Backplane`."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._inboxes.receiving[self._index])
        for index, queue in self._queues.items():
            if queue.packets:
                loop.remove_writer(self._inboxes.sending[index])

    def publish(self, published: Published) -> None:
        """See `Backplane`."""
        if len(published.topic.encode()) > _TOPIC_BYTES_MAX:
            # Longer than any topic that a connection may subscribe to.
            return
        packet: _Packet | None = None
        for index, queue in self._queues.items():
            if self._is_there(index):
                if packet is None:
                    packet = _Packet(published)
                    self._slot[Word.PUBLISHED] += 1
                self._send(index, queue, packet)

    def _is_there(self, index: int) -> bool:
        return self._board.slots[index][Word.STATE] in (State.SERVING, State.LEAVING)

    def _send(self, index: int, queue: _Queue, packet: _Packet) -> None:
        if not queue.packets and self._try_to_send(index, packet):
            return
        if queue.bytes + packet.cost > self._bytes_max and queue.packets:
            self._slot[Word.DROPPED] += 1
            if not queue.is_dropping:
                queue.is_dropping = True
                worker = self._board.slots[index][Word.WORKER]
                logger.warning(
                    "Dropping published messages for worker %d, which does not take them:"
                    " backplane_bytes_max is %d",
                    worker,
                    self._bytes_max,
                )
            return
        if not queue.packets:
            loop = asyncio.get_running_loop()
            loop.add_writer(self._inboxes.sending[index], self._send_queued, index)
        queue.packets.append(packet)
        queue.bytes += packet.cost

    def _try_to_send(self, index: int, packet: _Packet) -> bool:
        files = [] if packet.file is None else [packet.file]
        try:
            socket.send_fds(self._inboxes.sending[index], [packet.bytes], files)
        except BlockingIOError:
            return False
        return True

    def _send_queued(self, index: int) -> None:
        queue = self._queues[index]
        if not self._is_there(index):
            queue.clear()
        while queue.packets and self._try_to_send(index, queue.packets[0]):
            queue.bytes -= queue.packets.popleft().cost
        if not queue.packets:
            queue.is_dropping = False
            asyncio.get_running_loop().remove_writer(self._inboxes.sending[index])

    def _deliver_some(self) -> None:
        for _ in range(_PACKETS_A_TURN_MAX):
            published = self._receive()
            if published is None or self._deliver is None:
                return
            self._slot[Word.RECEIVED] += 1
            self._deliver(published)

    def _receive(self) -> Published | None:
        inbox = self._inboxes.receiving[self._index]
        most = _HEAD.size + _TOPIC_BYTES_MAX + _PACKET_BYTES_MAX
        try:
            packet, files, _, _ = socket.recv_fds(inbox, most, 1)
        except BlockingIOError:
            return None
        try:
            return _published(packet, files) if packet else None
        finally:
            for file in files:
                os.close(file)


class _Queue:
    """What waits for one process."""

    def __init__(self) -> None:
        self.packets: deque[_Packet] = deque()
        self.bytes = 0
        self.is_dropping = False

    def clear(self) -> None:
        """Drop all of it: the process has ended."""
        self.packets.clear()
        self.bytes = 0
