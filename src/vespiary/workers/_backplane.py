"""How messages reach the connections of other worker processes: published, or for one of them.

`Backplane` is what a server needs for that, and `LocalBackplane` the implementation for the workers
of one machine. Each process has an inbox: a pair of sockets of the kind SOCK_SEQPACKET, made before
the first fork, whose sending end all the others have too. A message is encoded once, as one packet,
and the same bytes are sent to each of them: the kernel keeps packets whole, and in order for each
sender. A large message is put in a file in memory, and the packet has its descriptor, so that it is
copied once and not for each process. The file exists only while it is sent: what waits needs no
descriptor. A message for which there is none, on either side, is dropped and counted.

Sockets, and not a ring in shared memory: the loops of the receivers have to be woken anyway, a
process that is killed in the middle of a write leaves nothing half written, and nobody else has to
run for a message to arrive. The kernel's queue is short; what does not fit waits in the sender, up
to a limit. So a worker that hangs costs each sender this memory, and delays no other worker.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from vespiary.workers._board import State, Word
from vespiary.workers._retained import NO_STAMP, STAMP_BYTES

if TYPE_CHECKING:
    from vespiary.workers._board import Board

__all__ = [
    "Addressed",
    "Backplane",
    "Carried",
    "Cluster",
    "Inboxes",
    "LocalBackplane",
    "Published",
    "Stated",
]

logger = logging.getLogger("vespiary")

_HEAD = struct.Struct(f"=BBBHQ{STAMP_BYTES}s")
"""What the message is, how to compress it, whom it is for, the bytes of the topic, of the
connection's id or of the process's name, the bytes of the message, and its stamp."""
_BYTES, _TEXT, _NOTHING = range(3)
_PUBLISHED, _RETAINED, _ADDRESSED, _STATED = range(4)
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
        stamp: Which retained message is the latest (see `_retained`); empty for other messages.
    """

    topic: str
    message: str | bytes | None
    compress: bool | None = None
    retain: bool = False
    stamp: bytes = NO_STAMP


class Addressed(NamedTuple):
    """A message for one connection.

    Attributes:
        connection_id: Its id.
        message: Text or bytes.
        compress: As for `Connection.send`.
    """

    connection_id: str
    message: str | bytes
    compress: bool | None = None


class Stated(NamedTuple):
    """A part of the state of a process (see `_state`).

    Attributes:
        process: The name of the process that it is for; empty for all.
        message: The packet.
        compress: Has no meaning here.
    """

    process: str
    message: bytes
    compress: bool | None = None


Carried = Published | Addressed | Stated


class Backplane(Protocol):
    """Carries messages to other processes that run the same server.

    All methods are called on the loop's thread.
    """

    def start(self, deliver: Callable[[Carried], object]) -> None:
        """Call `deliver` for each message that comes from another process, until `stop`."""

    def publish(self, published: Published | Stated) -> None:
        """Send a message to the other processes. It must not wait: it drops what it cannot keep."""

    def reaches(self, slot: int) -> bool:
        """Whether a process of this number serves; for any thread."""

    def send(self, slot: int, addressed: Addressed) -> None:
        """Send a message to one process, as `publish` does to all."""

    def stop(self) -> None:
        """Deliver nothing any more."""


class Cluster(Protocol):
    """Carries messages to the processes of other machines.

    Attributes:
        node: The beginning of the names of all processes of this machine's server.
    """

    node: str

    @property
    def is_connected(self) -> bool:
        """Whether messages can come from other machines now."""

    def begin_run(self) -> str:
        """Return the name of this process, which ids of its connections have."""

    def publish(self, published: Published) -> None:
        """As for `Backplane`: for all processes of other machines."""

    def state(self, stated: Stated) -> None:
        """Send a part of the state of this process. It is dropped while that is not possible."""

    def send(self, process: str, addressed: Addressed) -> bool:
        """Send a message to one process; False if it is known that there is none."""


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
    """A message as it is sent, the same to each process.

    Use it in a `with` block, at whose end its file is closed.
    """

    def __init__(self, carried: Carried) -> None:
        name, message = carried[0].encode(), carried.message
        kind = _NOTHING if message is None else _TEXT if isinstance(message, str) else _BYTES
        content = message.encode() if isinstance(message, str) else message or b""
        compress = _COMPRESS.index(carried.compress)
        self._file: int | None = None
        self._large = b""
        stamp = carried.stamp if isinstance(carried, Published) else NO_STAMP
        head = _HEAD.pack(kind, compress, _purpose(carried), len(name), len(content), stamp)
        self.bytes = head + name
        self.cost = len(self.bytes) + len(content)
        if len(content) <= _PACKET_BYTES_MAX:
            self.bytes += content
        else:
            self._large = content

    def files(self) -> list[int]:
        """The descriptors that are sent with it.

        Raises:
            OSError: there are none, or there is no memory.
        """
        if not self._large:
            return []
        if self._file is None:
            self._file = os.memfd_create("vespiary-message")
            _write_all(self._file, self._large)
        return [self._file]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def _purpose(carried: Carried) -> int:
    if isinstance(carried, Addressed):
        return _ADDRESSED
    if isinstance(carried, Stated):
        return _STATED
    return _RETAINED if carried.retain else _PUBLISHED


def _write_all(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def _carried(packet: bytes, files: list[int]) -> Carried | None:
    """What a packet carries; None if its file is missing: this process has no more descriptors."""
    kind, compress, purpose, name_bytes, length, stamp = _HEAD.unpack_from(packet)
    name_end = _HEAD.size + name_bytes
    content = os.pread(files[0], length, 0) if files else packet[name_end:]
    if len(content) != length:
        return None
    name = packet[_HEAD.size : name_end].decode()
    message = content.decode() if kind == _TEXT else content
    if purpose == _ADDRESSED:
        return Addressed(name, message, _COMPRESS[compress])
    if purpose == _STATED:
        return Stated(name, content)
    published = None if kind == _NOTHING else message
    known = NO_STAMP if stamp == bytes(STAMP_BYTES) else stamp
    return Published(name, published, _COMPRESS[compress], purpose == _RETAINED, known)


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
        self._deliver: Callable[[Carried], object] | None = None
        self._is_short = False
        # What was sent to an earlier process of this slot.
        while self._next_packet() is not None:
            pass

    def start(self, deliver: Callable[[Carried], object]) -> None:
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

    def publish(self, published: Published | Stated) -> None:
        """See `Backplane`."""
        if len(published[0].encode()) > _TOPIC_BYTES_MAX:
            # No connection can subscribe to a topic of this length.
            return
        there = [index for index in self._queues if self._is_there(index)]
        if not there:
            return
        self._slot[Word.PUBLISHED] += isinstance(published, Published)
        with _Packet(published) as packet:
            for index in there:
                self._send(index, self._queues[index], packet)

    def reaches(self, slot: int) -> bool:
        """See `Backplane`."""
        return slot in self._queues and self._is_there(slot)

    def send(self, slot: int, addressed: Addressed) -> None:
        """See `Backplane`."""
        if self.reaches(slot):
            self._slot[Word.PUBLISHED] += 1
            with _Packet(addressed) as packet:
                self._send(slot, self._queues[slot], packet)

    def _is_there(self, index: int) -> bool:
        return self._board.slots[index][Word.STATE] in (State.SERVING, State.LEAVING)

    def _send(self, index: int, queue: _Queue, packet: _Packet) -> None:
        queue.belong_to(self._board.slots[index][Word.PROCESS])
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
        """Send a packet; False where there is no room now. One that cannot be sent is dropped."""
        try:
            socket.send_fds(self._inboxes.sending[index], [packet.bytes], packet.files())
        except BlockingIOError:
            return False
        except OSError as error:
            self._drop(f"Dropping large published messages for other workers: {error}")
        return True

    def _drop(self, why: str) -> None:
        self._slot[Word.DROPPED] += 1
        if not self._is_short:
            self._is_short = True
            logger.warning("%s", why)

    def _send_queued(self, index: int) -> None:
        queue = self._queues[index]
        queue.belong_to(self._board.slots[index][Word.PROCESS])
        if not self._is_there(index):
            queue.clear()
        while queue.packets:
            with queue.packets[0] as packet:
                if not self._try_to_send(index, packet):
                    break
            queue.bytes -= queue.packets.popleft().cost
        if not queue.packets:
            queue.is_dropping = False
            asyncio.get_running_loop().remove_writer(self._inboxes.sending[index])

    def _deliver_some(self) -> None:
        for _ in range(_PACKETS_A_TURN_MAX):
            received = self._next_packet()
            if received is None or self._deliver is None:
                return
            carried = received[0]
            if carried is None:
                self._drop("Dropping large messages of other workers: there are no descriptors")
                continue
            self._slot[Word.RECEIVED] += not isinstance(carried, Stated)
            self._deliver(carried)

    def _next_packet(self) -> tuple[Carried | None] | None:
        """What the next packet carries, if that can be read; None where there is no packet."""
        inbox = self._inboxes.receiving[self._index]
        most = _HEAD.size + _TOPIC_BYTES_MAX + _PACKET_BYTES_MAX
        try:
            packet, files, _, _ = socket.recv_fds(inbox, most, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        try:
            return (_carried(packet, files),) if packet else None
        finally:
            for file in files:
                os.close(file)


class _Queue:
    """What waits for one process."""

    def __init__(self) -> None:
        self.packets: deque[_Packet] = deque()
        self.bytes = 0
        self.process = 0
        self.is_dropping = False

    def belong_to(self, process: int) -> None:
        """Drop what waits for an earlier process of the slot."""
        if self.process != process:
            self.process = process
            self.clear()

    def clear(self) -> None:
        """Drop all of it: the process has ended."""
        self.packets.clear()
        self.bytes = 0
        self.is_dropping = False
