"""All TCP sockets of a network namespace, in one dump of the kernel's sock_diag(7).

The request is the older one of the two that the kernel answers, TCPDIAG_GETSOCK: it alone gives
IPv4 and IPv6 in one walk over the kernel's table. A record has the family, the state, the four
numbers that name the connection, the timer with the milliseconds that remain, and the socket's
inode. A socket in TIME_WAIT has no inode: the kernel has forgotten who owned it.

Reading a record costs more here than writing it costs the kernel, so it is done by the hundred. In
most of the kernel's messages all records are of the same length, and one `struct.iter_unpack` takes
them all; a message of mixed records is walked. Fields stay as the kernel has them: a port is in
network byte order and read as it lies, and what names the other end (its port, both addresses) is
one slice of 34 bytes. The caller counts first and translates the rest.

A dump is not a moment: the kernel walks its table while connections come and go. Of 50,000 sockets
that takes some tens of milliseconds, and totals differ from the kernel's own by what has changed
in this time.
"""

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

__all__ = ["TIMER_TIME_WAIT", "DumpError", "Row", "Sockets", "dump", "open_diag", "parse"]

Row = tuple[int, int, int, int, bytes, int, int]
"""Family, state, timer, local port (network order), remote port and both addresses, ms, inode."""

TIMER_TIME_WAIT: Final = 3
"""The timer of what is in TIME_WAIT, or waits for the peer's FIN without a socket (FIN_WAIT2)."""

_NETLINK_SOCK_DIAG = 4
_TCPDIAG_GETSOCK, _SOCK_DIAG_BY_FAMILY = 18, 20
_NLMSG_NOOP, _NLMSG_ERROR, _NLMSG_DONE = 1, 2, 3
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_STATES: Final = 0x1FFE
"""Bit N for state N: all of them."""

_MESSAGE_BYTES_MAX = 1 << 18
"""The kernel's messages have at most 32 KiB; more would be cut off, which is an error."""

_HEADER = struct.Struct("=IHHII")
_FIELDS = "BBBxH34s12xI12xI"
_RECORD = struct.Struct("=IH10x" + _FIELDS)
_RECORD_BYTES = _RECORD.size
_ERROR = struct.Struct("=i")


class DumpError(Exception):
    """The kernel's answer could not be read."""


@dataclass(slots=True)
class Sockets:
    """The columns of a dump; what stands at one index belongs to one socket.

    Attributes:
        families: `AF_INET` or `AF_INET6`.
        states: The state's number.
        timers: Which timer runs.
        ports: The local port, in network byte order.
        remotes: The remote port and the local and the remote address: 2, 16 and 16 bytes.
        milliseconds: The time until the timer expires.
        inodes: The socket's inode; 0 where no process holds it.
    """

    families: tuple[int, ...] = ()
    states: tuple[int, ...] = ()
    timers: tuple[int, ...] = ()
    ports: tuple[int, ...] = ()
    remotes: tuple[bytes, ...] = ()
    milliseconds: tuple[int, ...] = ()
    inodes: tuple[int, ...] = ()
    keys: list[tuple[int, bytes]] = field(init=False)
    """The local port and the rest of the name: unique within a namespace and family."""

    def __post_init__(self) -> None:
        self.keys = list(zip(self.ports, self.remotes, strict=True))

    def __len__(self) -> int:
        return len(self.states)

    @classmethod
    def of(cls, rows: list[Row]) -> "Sockets":
        """Turn rows into columns."""
        return cls(*zip(*rows, strict=True)) if rows else cls()


def open_diag() -> socket.socket:
    """Open a socket for dumps of the network namespace that the calling thread is in now.

    Raises:
        OSError: The kernel has no sock_diag.
    """
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)


def dump(diag: socket.socket) -> Sockets:
    """Ask for all TCP sockets of the namespace in which `diag` was opened.

    Raises:
        DumpError: The answer is wrong.
        OSError: The kernel refused.
    """
    request = struct.pack("=BBBB48xII", socket.AF_UNSPEC, 0, 0, 0, _STATES, 0)
    flags = _NLM_F_REQUEST | _NLM_F_DUMP
    head = _HEADER.pack(_HEADER.size + len(request), _TCPDIAG_GETSOCK, flags, 1, 0)
    diag.send(head + request)
    return Sockets.of(parse(_messages(diag)))


def _messages(diag: socket.socket) -> Iterable[bytes]:
    while True:
        data, _, flags, _ = diag.recvmsg(_MESSAGE_BYTES_MAX)
        if flags & socket.MSG_TRUNC:
            raise DumpError("the kernel sent a message of more than 256 KiB")
        yield data


def parse(messages: Iterable[bytes]) -> list[Row]:
    """Read records up to the one that says that the dump is complete.

    Raises:
        DumpError: A record is cut off or of an unknown type, or the end is missing.
        OSError: The kernel sent an error.
    """
    rows: list[Row] = []
    for message in messages:
        if _parse_uniform(message, rows) or not _parse_each(message, rows):
            continue
        return rows
    raise DumpError("the kernel's list of sockets ended without its last record")


def _parse_uniform(message: bytes, rows: list[Row]) -> bool:
    """Take a message whose records are all alike; False leaves it untouched."""
    if len(message) < _RECORD_BYTES:
        return False
    length, kind = struct.unpack_from("=IH", message)
    if kind not in (_TCPDIAG_GETSOCK, _SOCK_DIAG_BY_FAMILY) or length < _RECORD_BYTES or length % 4:
        return False
    count, rest = divmod(len(message), length)
    if rest:
        return False
    lengths = memoryview(message).cast("I")[:: length // 4].tolist()
    kinds = memoryview(message).cast("H")[2 :: length // 2].tolist()
    if lengths.count(length) != count or kinds.count(kind) != count:
        return False
    rows += struct.Struct(f"=16x{_FIELDS}{length - _RECORD_BYTES}x").iter_unpack(message)
    return True


def _parse_each(message: bytes, rows: list[Row]) -> bool:
    """Take record after record; True when the dump is complete."""
    offset, end = 0, len(message)
    while offset < end:
        if end - offset < _HEADER.size:
            raise DumpError(f"a record is cut off after {end - offset} bytes")
        length, kind = struct.unpack_from("=IH", message, offset)
        if not _HEADER.size <= length <= end - offset:
            raise DumpError(f"a record of {length} bytes does not fit into {end - offset}")
        if kind in (_TCPDIAG_GETSOCK, _SOCK_DIAG_BY_FAMILY):
            if length < _RECORD_BYTES:
                raise DumpError(f"a socket's record has only {length} bytes")
            rows.append(_RECORD.unpack_from(message, offset)[2:])
        elif kind == _NLMSG_DONE:
            return True
        elif kind == _NLMSG_ERROR:
            _raise(message, offset + _HEADER.size, length - _HEADER.size)
        elif kind != _NLMSG_NOOP:
            raise DumpError(f"a record has the unknown type {kind}")
        offset += (length + 3) & ~3
    return False


def _raise(message: bytes, offset: int, length: int) -> None:
    if length < _ERROR.size:
        raise DumpError("the kernel's error is cut off")
    number = -_ERROR.unpack_from(message, offset)[0]
    raise OSError(number, "the kernel refused the dump of TCP sockets (sock_diag)")
